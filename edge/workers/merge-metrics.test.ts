import { expect, test } from "bun:test";
import { mergeMetrics } from "./merge-metrics.ts";

const text = (count: number) =>
  `# HELP requests Requests.
# TYPE requests counter
requests{status="200"} ${count}
requests{status="404"} 1

# HELP open Open.
# TYPE open gauge
open ${count}
`;

test("mergeMetrics() keeps each family together, its comments once, with a label for each worker", () => {
  expect(mergeMetrics(new Map([["3", text(7)], ["4", text(8)]]))).toBe(
    `# HELP requests Requests.
# TYPE requests counter
requests{worker="3",status="200"} 7
requests{worker="3",status="404"} 1
requests{worker="4",status="200"} 8
requests{worker="4",status="404"} 1
# HELP open Open.
# TYPE open gauge
open{worker="3"} 7
open{worker="4"} 8
`,
  );
});

import { expect, test } from "bun:test";
import { readExposition } from "./exposition.fixture.ts";

const page = (...lines: string[]) => lines.join("\n") + "\n";
const times = (buckets: string[], sum = "h_sum 1", count = "h_count 2") =>
  page("# HELP h A histogram.", "# TYPE h histogram", ...buckets, sum, count);

test("readExposition() reads what is right", () => {
  const families = readExposition(page(
    "# HELP a A counter.",
    "# TYPE a counter",
    'a{x="1",y="a\\"b\\\\"} 3',
    'a{x="2"} 1e3',
    "",
    "# HELP h A histogram.",
    "# TYPE h histogram",
    'h_bucket{le="0.1"} 1',
    'h_bucket{le="+Inf"} 2',
    "h_sum 1.5",
    "h_count 2",
  ));
  expect(families.get("a")!.samples.map((sample) => sample.value)).toEqual([3, 1_000]);
  expect(families.get("h")!.type).toBe("histogram");
});

test("readExposition() refuses what a scraper would misread or refuse", () => {
  const a = ["# HELP a A.", "# TYPE a counter"];
  const wrong: Record<string, string> = {
    "the last line has no end": "# HELP a A.\n# TYPE a counter\na 1",
    "no help before it": page("# TYPE a counter", "a 1"),
    "the help says nothing": page("# HELP a ", "# TYPE a counter"),
    "no such type": page("# HELP a A.", "# TYPE a number"),
    "the family is there already": page(...a, "a 1", ...a),
    "the series is there already": page(...a, 'a{x="1",y="2"} 1', 'a{y="2",x="1"} 2'),
    "not of the family": page(...a, "b 1"),
    "not labels": page(...a, 'a{x="1"y="2"} 1'),
    "a label twice": page(...a, 'a{x="1",x="2"} 1'),
    "not a number": page(...a, "a one"),
    "less than nothing": page(...a, "a -1"),
    "neither comment nor sample": page("a 1"),
    "it falls": times(['h_bucket{le="1"} 3', 'h_bucket{le="+Inf"} 2']),
    "its bounds do not rise": times(['h_bucket{le="2"} 1', 'h_bucket{le="1"} 1', 'h_bucket{le="+Inf"} 2']),
    "no bucket for all": times(['h_bucket{le="1"} 2']),
    "its last bucket is not its count": times(['h_bucket{le="+Inf"} 3']),
    "not one sum and count": page("# HELP h H.", "# TYPE h histogram", 'h_bucket{le="+Inf"} 0'),
  };
  for (const [why, text] of Object.entries(wrong)) expect(() => readExposition(text), why).toThrow(why);
});

import { expect, test } from "bun:test";
import { renderLine } from "./logs.ts";

test("renderLine() marks what is not stdout, and shows control bytes instead of obeying them", () => {
  const line = {
    machine: "9080e6f3000000",
    region: "dev",
    at_ms: 0,
    stream: "stderr" as const,
    line: "a\x1b[2Jb\x07",
  };
  expect(renderLine(line)).toBe("1970-01-01T00:00:00.000Z dev 9080e6f3 [stderr] a\\x1b[2Jb\\x07");
  expect(renderLine({ ...line, stream: "stdout", line: "\x1b[31mred\x1b[0m" })).toEndWith(
    "9080e6f3 \x1b[31mred\x1b[0m",
  );
});

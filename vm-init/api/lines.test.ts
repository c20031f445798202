import { expect, test } from "bun:test";
import { LOG_LINE_BYTES_MAX } from "../../control/contract/guest-limits.ts";
import { LineSplitter } from "./lines.ts";

function split(...chunks: (string | Uint8Array)[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  splitter.end();
  return lines;
}

test("LineSplitter cuts at newlines, wherever the chunks end", () => {
  expect(split("a\nb", "c\n", "\n", "d")).toEqual(["a", "bc", "", "d"]);
  expect(split("a\r\nb\r", "\nc\n")).toEqual(["a", "b", "c"]);
  expect(split()).toEqual([]);
});

test("LineSplitter joins a character that two chunks share, and replaces bytes that are none", () => {
  const bytes = Buffer.from("ü\n");
  expect(split(bytes.subarray(0, 1), bytes.subarray(1))).toEqual(["ü"]);
  expect(split(Uint8Array.of(0xff, 10))).toEqual(["\ufffd"]);
});

test("LineSplitter cuts a line without end into pieces of the limit", () => {
  const chunk = "x".repeat(10_000);
  const lines = split(chunk, chunk, chunk, chunk, "\n");
  expect(lines.map((line) => line.length)).toEqual([
    LOG_LINE_BYTES_MAX,
    LOG_LINE_BYTES_MAX,
    40_000 - 2 * LOG_LINE_BYTES_MAX,
  ]);
});

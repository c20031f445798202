import { expect, test } from "bun:test";
import fc from "fast-check";
import { LineSplitter } from "./split-lines.ts";

test("LineSplitter gives the same lines however the bytes are cut", () => {
  fc.assert(fc.property(
    fc.array(fc.string({ maxLength: 20 }).map((line) => line.replaceAll("\n", " ")), { maxLength: 10 }),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
    (lines, cuts) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      const splitter = new LineSplitter(1_000);
      const got: string[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const length = cuts[i % cuts.length]!;
        got.push(...splitter.push(bytes.subarray(at, at + length)));
        at += length;
      }
      expect(got).toEqual(lines);
    },
  ));
});

test("LineSplitter refuses a line above its bound, however it arrives", () => {
  const splitter = new LineSplitter(10);
  expect(splitter.push(Buffer.from("0123456789\n"))).toEqual(["0123456789"]);
  expect(splitter.push(Buffer.from("012345"))).toEqual([]);
  expect(() => splitter.push(Buffer.from("678901"))).toThrow("longer than 10 bytes");
});

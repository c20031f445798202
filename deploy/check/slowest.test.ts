import { expect, test } from "bun:test";
import { slowest } from "./slowest.ts";

test("slowest() names the longest first, and no more than asked for", () => {
  const tookMs = new Map([["a.test.ts", 40], ["b.test.ts", 61_230], ["c.test.ts", 1_500]]);
  expect(slowest(tookMs, 2)).toEqual([`  61.2 s  b.test.ts`, `   1.5 s  c.test.ts`]);
  expect(slowest(new Map())).toEqual([]);
});

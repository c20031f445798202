import { expect, test } from "bun:test";
import { backoffMs } from "./backoff.ts";

test("backoffMs() doubles up to its cap, of which half is random", () => {
  expect([1, 2, 3, 4].map((n) => backoffMs(n, 0))).toEqual([50, 100, 200, 400]);
  expect([1, 2, 3].map((n) => backoffMs(n, 1))).toEqual([100, 200, 400]);
  expect(backoffMs(1_000, 1)).toBe(5_000);
  expect(backoffMs(1_000, 0)).toBe(2_500);
});

import { expect, test } from "bun:test";
import { healDelayMs } from "./heal-delay.ts";

test("healDelayMs() doubles up to its cap, and half of it is chance", () => {
  const limits = { healDelayMs: 1_000, healDelayMsMax: 60_000 };
  expect(healDelayMs(0, limits, () => 0)).toBe(500);
  expect(healDelayMs(0, limits, () => 1)).toBe(1_000);
  expect(healDelayMs(3, limits, () => 1)).toBe(8_000);
  expect(healDelayMs(1_000, limits, () => 1)).toBe(60_000);
});

import { expect, test } from "bun:test";
import { crashesInARow, RESTART_DELAY_MS_MAX, restartDelayMs, STABLE_MS } from "./restart-delay.ts";

test("restartDelayMs() is nothing at first, then doubles with jitter up to its bound", () => {
  expect(restartDelayMs(1, () => 0.5)).toBe(0);
  expect([restartDelayMs(2, () => 0), restartDelayMs(2, () => 1)]).toEqual([100, 200]);
  expect([restartDelayMs(3, () => 0), restartDelayMs(3, () => 1)]).toEqual([200, 400]);
  expect(restartDelayMs(50, () => 1)).toBe(RESTART_DELAY_MS_MAX);
});

test("crashesInARow() starts again after a stable life", () => {
  expect(crashesInARow(4, 10)).toBe(5);
  expect(crashesInARow(4, STABLE_MS)).toBe(1);
});

import { expect, test } from "bun:test";
import {
  crashesInARow,
  REPLICATOR_DELAY_MS_MAX,
  replicatorDelayMs,
  RESTART_DELAY_MS_MAX,
  restartDelayMs,
  STABLE_MS,
} from "./restart-delay.ts";

test("restartDelayMs() is nothing at first, then doubles with jitter up to its bound", () => {
  expect(restartDelayMs(1, () => 0.9)).toBe(0);
  expect(restartDelayMs(2, () => 0)).toBe(100);
  expect(restartDelayMs(2, () => 1)).toBe(200);
  expect(restartDelayMs(100, () => 1)).toBe(RESTART_DELAY_MS_MAX);
});

test("replicatorDelayMs() spreads 1,000 edges that crashed at once, from the first crash on", () => {
  const tenths = new Array<number>(10).fill(0);
  for (let i = 0; i < 1_000; i++) tenths[Math.floor(replicatorDelayMs(1, () => i / 1_000) / 100)]!++;
  // None within 100 ms, and no tenth of a second in which many more than their share begin.
  expect(tenths[0]).toBe(0);
  expect(Math.max(...tenths)).toBeLessThanOrEqual(112);
  expect(replicatorDelayMs(100, () => 1)).toBe(REPLICATOR_DELAY_MS_MAX);
});

test("crashesInARow() starts again after a stable life", () => {
  expect(crashesInARow(5, STABLE_MS - 1)).toBe(6);
  expect(crashesInARow(5, STABLE_MS)).toBe(1);
});

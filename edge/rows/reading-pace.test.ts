import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  nextSliceRows,
  REST_MS_MAX,
  restMs,
  RETRY_MS_MAX,
  RETRY_MS_MIN,
  retryMs,
  SLICE_MS,
  SLICE_ROWS_FIRST,
  SLICE_ROWS_MAX,
  SLICE_ROWS_MIN,
} from "./reading-pace.ts";

test("nextSliceRows() settles where a slice takes SLICE_MS, whatever a row costs", () => {
  fc.assert(fc.property(fc.double({ min: 0.002, max: 0.15, noNaN: true }), (rowMs) => {
    let rows = SLICE_ROWS_FIRST;
    for (let i = 0; i < 20; i++) rows = nextSliceRows(rows, rows, rows * rowMs);
    expect(rows).toBeGreaterThanOrEqual(SLICE_ROWS_MIN);
    expect(rows).toBeLessThanOrEqual(SLICE_ROWS_MAX);
    if (rows > SLICE_ROWS_MIN) expect(rows * rowMs).toBeLessThanOrEqual(SLICE_MS + 0.001);
  }));
});

test("nextSliceRows() learns nothing from a slice that was not full and was quick", () => {
  expect(nextSliceRows(100, 1, 0.5)).toBe(100);
  expect(nextSliceRows(100, 20, 60)).toBe(SLICE_ROWS_MIN);
});

test("restMs() leaves most of the time to requests, and is bounded", () => {
  expect(restMs(1)).toBe(3);
  expect(restMs(1_000)).toBe(REST_MS_MAX);
});

test("retryMs() doubles up to its bound, with jitter, so that no two edges keep step", () => {
  expect(retryMs(1, () => 0)).toBe(RETRY_MS_MIN / 2);
  expect(retryMs(2, () => 1)).toBe(RETRY_MS_MIN * 2);
  expect(retryMs(1_000, () => 1)).toBe(RETRY_MS_MAX);
  const delays = new Set(Array.from({ length: 100 }, () => Math.round(retryMs(20, Math.random) / 10)));
  expect(delays.size).toBeGreaterThan(30);
});

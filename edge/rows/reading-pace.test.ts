import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  nextSliceRows,
  PENDING_MS_MAX,
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

test("restMs() leaves nine tenths of the time to requests in a storm whose rows wait two seconds at most", () => {
  // 10,000 rows change once a second, and 20 µs is what one takes.
  expect(restMs(2, 100, 10_000)).toBeCloseTo(18);
  expect(restMs(2, 100, 0)).toBeCloseTo(18);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 50_000 }),
      fc.double({ min: 0.1, max: 2, noNaN: true }),
      (left, tookMs) => {
        const rest = restMs(tookMs, 100, left);
        expect(rest).toBeLessThanOrEqual(9 * tookMs + 0.001);
        expect(rest).toBeGreaterThanOrEqual(3 * tookMs - 0.001);
        const drainMs = left / 100 * (tookMs + rest);
        if (rest > 3 * tookMs + 0.001) expect(drainMs).toBeLessThanOrEqual(PENDING_MS_MAX + 0.001);
      },
    ),
  );
});

test("restMs() is a quarter of the time where more is pending, or all is read", () => {
  expect(restMs(2, 100, 40_000)).toBe(6);
  expect(restMs(2, 100, Infinity)).toBe(6);
});

test("restMs() is short after a few rows, and bounded", () => {
  expect(restMs(1, 1, 0)).toBe(3);
  expect(restMs(1_000, 100, 0)).toBe(REST_MS_MAX);
});

test("retryMs() doubles up to its bound, with jitter, so that no two edges keep step", () => {
  expect(retryMs(1, () => 0)).toBe(RETRY_MS_MIN / 2);
  expect(retryMs(2, () => 1)).toBe(RETRY_MS_MIN * 2);
  expect(retryMs(1_000, () => 1)).toBe(RETRY_MS_MAX);
  const delays = new Set(Array.from({ length: 100 }, () => Math.round(retryMs(20, Math.random) / 10)));
  expect(delays.size).toBeGreaterThan(30);
});

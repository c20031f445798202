import { expect, test } from "bun:test";
import { delaysOf, percentile } from "./percentiles.ts";

test("percentile() is the figure that as large a share of all is at most", () => {
  const hundred = Float64Array.from({ length: 100 }, (_, i) => i + 1);
  expect(percentile(hundred, 0.5)).toBe(50);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 1)).toBe(100);
  expect(percentile(Float64Array.of(7), 0.01)).toBe(7);
});

test("delaysOf() counts every change on every edge, and each change until its last edge", () => {
  const begun = Float64Array.of(0, 100, 200);
  const edges = [Float64Array.of(NaN, 101, 202), Float64Array.of(NaN, 109, 203)];
  expect(delaysOf(begun, edges, 1, 2)).toEqual({
    p50Ms: 2,
    p99Ms: 9,
    maxMs: 9,
    lastEdgeP50Ms: 3,
    lastEdgeP99Ms: 9,
  });
});

test("delaysOf() refuses to leave out a change that some edge never routed", () => {
  expect(() => delaysOf(Float64Array.of(0), [Float64Array.of(1), Float64Array.of(NaN)], 0, 1)).toThrow(
    "never routed on edge 1",
  );
});

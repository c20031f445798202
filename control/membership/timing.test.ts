import { describe, expect, test } from "bun:test";
import { FLAP_HALF_LIFE_MS, flapsAfter, HOLD_MS_FIRST, HOLD_MS_MAX, holdMs } from "./flaps.ts";
import { retransmits, suspicionMs, TIMING } from "./timing.ts";

describe("suspicionMs()", () => {
  test("grows with log10 of the fleet's size", () => {
    expect(suspicionMs(TIMING, 9, 2)).toBe(TIMING.suspicionMs);
    expect(suspicionMs(TIMING, 99, 2)).toBeCloseTo(2 * TIMING.suspicionMs);
    expect(suspicionMs(TIMING, 999, 2)).toBeCloseTo(3 * TIMING.suspicionMs);
  });
  test("is long while one host alone suspects, and shortens with each that agrees", () => {
    const [alone, one, two, three] = [0, 1, 2, 3].map((count) => suspicionMs(TIMING, 9, count));
    expect(alone).toBe(TIMING.suspicionMs * TIMING.suspicionFactor);
    expect(one!).toBeLessThan(alone!);
    expect(two!).toBeLessThan(one!);
    expect(three!).toBe(two!);
  });
  test("is short where nobody else could agree", () => {
    expect(suspicionMs(TIMING, 2, 0)).toBe(TIMING.suspicionMs);
  });
});

test("retransmits() grows with log10 of the fleet's size", () => {
  expect([2, 9, 99, 300].map((live) => retransmits(TIMING, live))).toEqual([4, 4, 8, 10]);
});

describe("holdMs()", () => {
  test("lets a host back at once after one death, and holds it longer with each that follows soon", () => {
    expect(holdMs(1)).toBe(0);
    expect(holdMs(2)).toBe(HOLD_MS_FIRST);
    expect(holdMs(3)).toBe(2 * HOLD_MS_FIRST);
    expect(holdMs(100)).toBe(HOLD_MS_MAX);
  });
  test("forgets with time", () => {
    expect(flapsAfter(4, FLAP_HALF_LIFE_MS)).toBe(2);
    expect(holdMs(flapsAfter(2, FLAP_HALF_LIFE_MS))).toBe(0);
  });
});

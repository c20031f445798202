import { expect, test } from "bun:test";
import { SharedPace } from "./pace.ts";

test("SharedPace spreads what several take over the time that it needs", () => {
  const pace = new SharedPace(1_000, 0);
  expect([pace.take(500, 0), pace.take(500, 0), pace.take(500, 0)]).toEqual([0, 500, 1_000]);
  expect(pace.take(100, 2_000)).toBe(0);
  expect(pace.take(100, 2_050)).toBe(50);
});

test("SharedPace lets a burst pass after a while without, and no more than that", () => {
  const pace = new SharedPace(1_000, 100);
  expect([pace.take(100, 10_000), pace.take(100, 10_000), pace.take(100, 10_000)]).toEqual([0, 0, 100]);
});

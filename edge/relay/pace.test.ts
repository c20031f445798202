import { expect, test } from "bun:test";
import { Pace } from "./pace.ts";

test("Pace counts only the time in which it was the peer's turn", () => {
  const pace = new Pace();
  pace.turnBegins(0);
  pace.moved(500);
  expect(pace.below(100, 10_000, 5_000)).toBe(false);
  expect(pace.below(100, 10_000, 10_000)).toBe(false);
  expect(pace.below(100, 10_000, 10_001)).toBe(true);
  pace.turnEnds(6_000);
  expect(pace.below(100, 10_000, 1_000_000)).toBe(false);
  pace.turnBegins(1_000_000);
  pace.turnBegins(1_001_000);
  expect(pace.below(100, 10_000, 1_004_001)).toBe(true);
  pace.moved(1_000);
  expect(pace.below(100, 10_000, 1_004_001)).toBe(false);
});

import { expect, test } from "bun:test";
import { stealPercent } from "./bench.ts";
import { alternate, median, orderOf, ratioOf } from "./rounds.ts";

test("orderOf() lets the second of a round begin the next", () => {
  expect([0, 1, 2].map((round) => orderOf(round, ["a", "b"]))).toEqual([["a", "b"], ["b", "a"], ["a", "b"]]);
});

test("alternate() runs one contender at a time and keeps each one's figures by round", async () => {
  let running = 0;
  const seen: string[] = [];
  const contender = (name: string, base: number) => ({
    name,
    run: async (round: number) => {
      expect(++running).toBe(1);
      await Promise.resolve();
      running--;
      return base + round;
    },
  });
  const figures = await alternate(3, [contender("a", 10), contender("b", 20)], (round, name) => {
    seen.push(`${name}${round}`);
  });
  expect(seen).toEqual(["a0", "b0", "b1", "a1", "a2", "b2"]);
  expect(figures.get("a")).toEqual([10, 11, 12]);
  expect(figures.get("b")).toEqual([20, 21, 22]);
});

test("median() is the middle figure, or between the two middle ones", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow("at least one figure");
});

test("ratioOf() compares medians", () => {
  expect(ratioOf([110, 100, 900], [100, 100, 1])).toBe(1.1);
});

test("stealPercent() reads the eighth column of /proc/stat", () => {
  expect(stealPercent("cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1 1")).toBe(10);
  expect(stealPercent("")).toBe(0);
});

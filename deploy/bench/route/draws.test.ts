import { expect, test } from "bun:test";
import { seededRandom } from "../seeded-random.ts";
import { uniform, zipf } from "./draws.ts";

function counts(draw: (random: () => number) => number, hosts: number, draws: number): number[] {
  const random = seededRandom(7);
  const found = new Array<number>(hosts).fill(0);
  for (let i = 0; i < draws; i++) found[draw(random)]!++;
  return found;
}

test("uniform() draws each host about as often", () => {
  const found = counts(uniform(10), 10, 10_000);
  for (const count of found) expect(Math.abs(count - 1_000)).toBeLessThan(150);
});

test("zipf() draws the first host twice as often as the second and ten times as often as the tenth", () => {
  const found = counts(zipf(1_000), 1_000, 200_000);
  expect(found[0]! / found[1]!).toBeCloseTo(2, 0);
  expect(Math.round(found[0]! / found[9]!)).toBeWithin(8, 13);
  expect(found.reduce((sum, count) => sum + count, 0)).toBe(200_000);
});

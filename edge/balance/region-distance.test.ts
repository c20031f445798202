import { expect, test } from "bun:test";
import { DISTANCE_WINDOW_MS, RegionDistances, REGIONS_MAX } from "./region-distance.ts";

const order = (distances: RegionDistances, ...regions: string[]) =>
  regions.sort((a, b) => distances.compare(a, b)).join(" ");

test("RegionDistances orders by the least time seen, unknown regions last and by name", () => {
  const distances = new RegionDistances();
  distances.observe("syd", 240, 0);
  distances.observe("fra", 300, 0);
  distances.observe("fra", 9, 1);
  distances.observe("fra", 800, 2);
  expect(order(distances, "zzz", "aaa", "syd", "fra")).toBe("fra syd aaa zzz");
});

test("RegionDistances forgets what is two windows old", () => {
  const distances = new RegionDistances();
  distances.observe("fra", 9, 0);
  distances.observe("fra", 50, DISTANCE_WINDOW_MS + 1);
  expect(distances.of("fra")).toBe(9);
  distances.observe("fra", 60, 2 * (DISTANCE_WINDOW_MS + 1));
  expect(distances.of("fra")).toBe(50);
});

test("RegionDistances changes its version only where a distance changed", () => {
  const distances = new RegionDistances();
  distances.observe("fra", 9, 0);
  const { version } = distances;
  distances.observe("fra", 12, 1);
  expect(distances.version).toBe(version);
  distances.observe("fra", 8, 2);
  expect(distances.version).not.toBe(version);
});

test("RegionDistances keeps no more regions than its bound", () => {
  const distances = new RegionDistances();
  for (let i = 0; i <= REGIONS_MAX; i++) distances.observe(`r${i}`, 1, 0);
  expect(distances.of(`r${REGIONS_MAX}`)).toBe(Infinity);
});

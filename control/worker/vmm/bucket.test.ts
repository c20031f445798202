import { expect, test } from "bun:test";
import { Bucket } from "./bucket.ts";

test("Bucket gives a burst at once and then its rate", () => {
  const bucket = new Bucket(10, 5, 0);
  expect(bucket.take(5, 0)).toBe(0);
  expect(bucket.take(1, 0)).toBe(100);
  expect(bucket.take(0, 100)).toBe(0);
  expect(bucket.take(20, 100)).toBe(2_000);
  expect(bucket.take(0, 1_100)).toBe(1_000);
});

test("Bucket gathers no more than its burst, and takes a clock that goes back", () => {
  const bucket = new Bucket(10, 5, 1_000);
  expect(bucket.take(6, 1_000_000)).toBe(100);
  expect(bucket.take(0, 500)).toBe(100);
});

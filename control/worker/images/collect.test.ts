import { expect, test } from "bun:test";
import { chooseForRemoval, COLLECT_AGE_MS_MIN } from "./collect.ts";

const now = 100 * COLLECT_AGE_MS_MIN;
const image = (digest: string, usedAtMs: number, size_bytes = 10) => ({ digest, usedAtMs, size_bytes });

test("chooseForRemoval() removes nothing while all fits", () => {
  expect(chooseForRemoval([image("a", 1), image("b", 2)], 20, new Set(), now)).toEqual([]);
});

test("chooseForRemoval() removes oldest uses first, and no more than needed", () => {
  expect(chooseForRemoval([image("b", 2), image("a", 1), image("c", 3)], 20, new Set(), now)).toEqual(["a"]);
  expect(chooseForRemoval([image("b", 2), image("a", 1), image("c", 3)], 15, new Set(), now)).toEqual([
    "a",
    "b",
  ]);
});

test("chooseForRemoval() leaves what is in use or was asked for just now", () => {
  const images = [image("a", 1), image("b", 2), image("c", now - 1)];
  expect(chooseForRemoval(images, 0, new Set(["a"]), now)).toEqual(["b"]);
});

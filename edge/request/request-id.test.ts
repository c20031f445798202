import { expect, test } from "bun:test";
import { RequestIds } from "./request-id.ts";

test("RequestIds makes ULIDs with the region, each one once, in order", () => {
  const ids = new RequestIds("ams", () => 0);
  const made = Array.from({ length: 10_000 }, (_, i) => ids.next(1_700_000_000_000 + Math.floor(i / 100)));
  expect(new Set(made).size).toBe(made.length);
  expect([...made].sort()).toEqual(made);
  expect(made[0]).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}-ams$/);
});

import { expect, test } from "bun:test";
import { parseDuration } from "./duration.ts";

test("parseDuration() reads numbers with a unit, and nothing else", () => {
  expect(["45s", "10m", "12h", "30d"].map(parseDuration)).toEqual([45, 600, 43_200, 2_592_000]);
  for (const text of ["", "30", "0d", "-1d", "1w", "1.5h", "99999d", " 1d"]) {
    expect(() => parseDuration(text)).toThrow(/Cannot read the duration/);
  }
});

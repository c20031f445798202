import { describe, expect, test } from "bun:test";
import { compareIds, isGap, START } from "./stream-gap.ts";

describe("isGap()", () => {
  const info = { firstId: "5-0", lastId: "9-3", removed: 0 };
  test("no gap while the stream reaches from before the position to behind it", () => {
    expect(isGap("5-0", info)).toBe(false);
    expect(isGap("9-3", info)).toBe(false);
  });
  test("a gap where it begins behind the position, ends before it, or is not there", () => {
    expect(isGap("4-0", info)).toBe(true);
    expect(isGap("9-4", info)).toBe(true);
    expect(isGap("5-0", null)).toBe(true);
  });
  test("no gap for a replica that has read nothing", () => {
    expect(isGap(START, null)).toBe(false);
    expect(isGap(START, info)).toBe(false);
  });
  test("ids compare as numbers", () => expect(compareIds("10-0", "9-5")).toBeGreaterThan(0));
});

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
  test("a gap where it does not reach back to the anchor: what was read since may lack what was trimmed", () => {
    expect(isGap("9-3", info, "5-0")).toBe(false);
    expect(isGap("9-3", info, "4-9")).toBe(true);
    expect(isGap("9-3", info, START)).toBe(false);
    // A stream that is read again from further back.
    expect(isGap("6-0", info, "9-3")).toBe(false);
  });
  test("a gap where it was emptied before all of it was read", () => {
    const empty = { firstId: null, lastId: "9-3", removed: 5 };
    expect(isGap("9-3", empty)).toBe(false);
    expect(isGap("9-2", empty)).toBe(true);
    expect(isGap("9-3", empty, "9-2")).toBe(true);
  });
  test("no gap for a replica that has read nothing", () => {
    expect(isGap(START, null)).toBe(false);
    expect(isGap(START, info)).toBe(false);
  });
  test("ids compare as numbers", () => expect(compareIds("10-0", "9-5")).toBeGreaterThan(0));
});

import { describe, expect, test } from "bun:test";
import { memoryTakenMb, offerCost } from "./capacity.ts";

const load = {
  machines: [
    { id: "a", state: "started" as const, memory_mb: 256 },
    { id: "b", state: "stopped" as const, memory_mb: 512 },
    { id: "c", state: "created" as const, memory_mb: 1_024 },
    { id: "d", state: "destroyed" as const, memory_mb: 2_048 },
  ],
  offers: [{ machine_id: "e", memory_mb: 4_096 }, { machine_id: "a", memory_mb: 8_192 }],
};

describe("memoryTakenMb()", () => {
  test("counts machines that run or are about to, and offers, but none at rest", () => {
    expect(memoryTakenMb(load)).toBe(256 + 1_024 + 4_096 + 8_192);
  });
  test("leaves out the machine that is asked about, its offer too", () => {
    expect(memoryTakenMb(load, "a")).toBe(1_024 + 4_096);
  });
});

test("offerCost() is the share in use afterwards, less the bonus where the image is here", () => {
  expect(offerCost(256, 256, 1_024, false)).toBe(0.5);
  expect(offerCost(256, 256, 1_024, true)).toBeCloseTo(0.3);
});

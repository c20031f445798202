import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Seal, SEAL_BYTES } from "./seal.ts";

const OLD = "o".repeat(32), NEW = "n".repeat(32);
const payload = Buffer.from("what is said");

describe("Seal", () => {
  test("opens what it closed", () => {
    const seal = new Seal([OLD]);
    const closed = seal.close(payload);
    expect(closed.length).toBe(payload.length + SEAL_BYTES);
    expect(seal.open(closed)?.toString()).toBe("what is said");
  });
  test("refuses a datagram with any bit changed", () => {
    const seal = new Seal([OLD]);
    fc.assert(fc.property(fc.nat(), fc.integer({ min: 0, max: 7 }), (at, bit) => {
      const changed = Buffer.from(seal.close(payload));
      changed[at % changed.length]! ^= 1 << bit;
      expect(seal.open(changed)).toBe(null);
    }));
  });
  test("refuses what is too short, and random bytes", () => {
    const seal = new Seal([OLD]);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(seal.open(bytes)).toBe(null);
    }));
  });
  test("changes its key without a gap: the first one signs, all are accepted", () => {
    const before = new Seal([OLD]), knowsBoth = new Seal([OLD, NEW]);
    const signsNew = new Seal([NEW, OLD]), after = new Seal([NEW]);
    for (
      const [from, to] of [[before, knowsBoth], [knowsBoth, before], [knowsBoth, signsNew], [
        signsNew,
        knowsBoth,
      ], [after, signsNew]] as const
    ) {
      expect(to.open(from.close(payload))?.toString()).toBe("what is said");
    }
    expect(after.open(before.close(payload))).toBe(null);
  });
});

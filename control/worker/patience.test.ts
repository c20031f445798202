import { describe, expect, test } from "bun:test";
import { HELLO_PATIENCE, isPatient, RESUMED_PATIENCE } from "./patience.ts";

describe("isPatient()", () => {
  const { tcg, kvm } = HELLO_PATIENCE;
  test("gives an emulated guest its time, and longer where the host gave it no processor", () => {
    expect(isPatient(tcg, 24_000, 24_000)).toBe(true);
    expect(isPatient(tcg, 26_000, 24_000)).toBe(false);
    expect(isPatient(tcg, 26_000, 3_000)).toBe(true);
  });
  test("gives a resumed guest less time than one that boots", () => {
    for (const acceleration of ["tcg", "kvm"] as const) {
      const [resumed, booted] = [RESUMED_PATIENCE[acceleration], HELLO_PATIENCE[acceleration]];
      expect(resumed.waitMs).toBeLessThan(booted.waitMs);
      expect(resumed.waitMsMax).toBeLessThan(booted.waitMsMax);
    }
  });
  test("ends at the last bound in any case", () => {
    expect(isPatient(tcg, 120_000, 0)).toBe(false);
    expect(isPatient(kvm, 8_000, 0)).toBe(false);
  });
});

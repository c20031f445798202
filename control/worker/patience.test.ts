import { describe, expect, test } from "bun:test";
import { HELLO_PATIENCE, isPatient, RESUMED_PATIENCE } from "./patience.ts";

describe("isPatient()", () => {
  const { tcg, kvm } = HELLO_PATIENCE;
  const used = (cpuMs: number, wantedMs: number | null = null) => ({ cpuMs, wantedMs });
  test("gives an emulated guest its time, and longer where the host gave it no processor", () => {
    expect(isPatient(tcg, 24_000, used(24_000))).toBe(true);
    expect(isPatient(tcg, 26_000, used(24_000))).toBe(false);
    expect(isPatient(tcg, 26_000, used(3_000))).toBe(true);
    expect(isPatient(tcg, 90_000, used(3_000, 80_000))).toBe(true);
  });
  test("gives one that wants no processor no more than its time", () => {
    expect(isPatient(tcg, 24_000, used(1_000, 2_000))).toBe(true);
    expect(isPatient(tcg, 26_000, used(5_000, 6_000))).toBe(true);
    expect(isPatient(tcg, 31_000, used(5_000, 6_000))).toBe(false);
  });
  test("gives a resumed guest less time than one that boots", () => {
    for (const acceleration of ["tcg", "kvm"] as const) {
      const [resumed, booted] = [RESUMED_PATIENCE[acceleration], HELLO_PATIENCE[acceleration]];
      expect(resumed.waitMs).toBeLessThan(booted.waitMs);
      expect(resumed.waitMsMax).toBeLessThan(booted.waitMsMax);
    }
  });
  test("ends at the last bound in any case", () => {
    expect(isPatient(tcg, 120_000, used(0))).toBe(false);
    expect(isPatient(kvm, 8_000, used(0))).toBe(false);
  });
});

import { describe, expect, test } from "bun:test";
import { Probes } from "./probes.ts";
import { PROBES_MAX, RELAYS_MAX, TIMING } from "./timing.ts";

const whats = (probes: Probes, nowMs: number) => probes.due(nowMs).map(({ what }) => what);

describe("Probes", () => {
  test("ask for help once, then fail; an ill host waits for longer", () => {
    const probes = new Probes(TIMING, 0);
    probes.start("one", 0, 1);
    probes.start("two", 0, 2);
    expect(whats(probes, TIMING.directMs)).toEqual(["help"]);
    expect(whats(probes, TIMING.probeMs)).toEqual(["failed", "help"]);
    expect(whats(probes, 2 * TIMING.probeMs)).toEqual(["failed"]);
    expect(probes.nextMs()).toBe(Infinity);
  });
  test("are answered by their target, or by who was asked, and once", () => {
    const probes = new Probes(TIMING, 0);
    const sequence = probes.start("one", 0, 1)!;
    expect(probes.acked(sequence, "two")).toBe(null);
    const [due] = probes.due(TIMING.directMs);
    if (due?.what === "help") due.probe.asked = ["two"];
    expect(probes.acked(sequence, "two")).not.toBe(null);
    expect(probes.acked(sequence, "one")).toBe(null);
  });
  test("for others say no in time for the asker to hear it, and are over soon after", () => {
    const probes = new Probes(TIMING, 0);
    probes.relay("asker", 7, "one", 0);
    expect(whats(probes, (TIMING.probeMs - TIMING.directMs) / 2)).toEqual(["nack"]);
    probes.due(TIMING.probeMs);
    expect(probes.nextMs()).toBe(Infinity);
  });
  test("are bounded, and one target is not probed twice at a time", () => {
    const probes = new Probes(TIMING, 2 ** 32 - 1);
    expect(probes.start("h0", 0, 1)).not.toBe(null);
    expect(probes.start("h0", 0, 1)).toBe(null);
    for (let i = 1; i < PROBES_MAX; i++) expect(probes.start(`h${i}`, 0, 1)).not.toBe(null);
    expect(probes.start("more", 0, 1)).toBe(null);
    for (let i = 0; i < RELAYS_MAX; i++) expect(probes.relay("asker", i, "one", 0)).not.toBe(null);
    expect(probes.relay("asker", 0, "one", 0)).toBe(null);
  });
});

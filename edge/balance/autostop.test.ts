import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { autostop, AUTOSTOP_GRACE_MS, AUTOSTOP_INTERVAL_MS, type RunningMachine } from "./autostop.ts";

const NOW_MS = AUTOSTOP_GRACE_MS * 10;
const machine = (id: string, change: Partial<RunningMachine> = {}): RunningMachine => ({
  id,
  hostId: "h1",
  region: "ams",
  known: true,
  load: 0,
  overSoftLimit: false,
  unused: true,
  startedAtMs: 0,
  mayStop: true,
  ...change,
});
const stops = (machines: RunningMachine[], minRunning = 0, primaryRegion: string | null = "ams") =>
  autostop({ hostId: "h1", machines, minRunning, primaryRegion }, NOW_MS).map(({ id }) => id);

describe("autostop()", () => {
  test("stops one of several that are not needed, in each region", () => {
    expect(stops([machine("a"), machine("b"), machine("c")])).toEqual(["a"]);
    expect(stops([machine("a"), machine("b"), machine("f", { region: "fra" })])).toEqual(["a", "f"]);
  });
  test("keeps one spare beside those above their soft limits", () => {
    const busy = machine("busy", { load: 25, overSoftLimit: true, unused: false });
    expect(stops([busy, machine("spare")])).toEqual([]);
    expect(stops([busy, machine("spare"), machine("extra")])).toEqual(["extra"]);
  });
  test("stops the only one when it has no load, and not before", () => {
    expect(stops([machine("a")])).toEqual(["a"]);
    expect(stops([machine("a", { load: 1 })])).toEqual([]);
    expect(stops([machine("a", { unused: false })])).toEqual([]);
  });
  test("keeps the minimum, in the primary region alone", () => {
    expect(stops([machine("a")], 1)).toEqual([]);
    expect(stops([machine("a"), machine("b")], 1)).toEqual(["a"]);
    expect(stops([machine("f", { region: "fra" })], 1)).toEqual(["f"]);
    expect(stops([machine("f", { region: "fra" })], 1, null)).toEqual([]);
  });
  test("takes what another host's edge alone knows for busy", () => {
    expect(stops([machine("a"), machine("z", { hostId: "h0", known: false })])).toEqual([]);
  });

  test("whatever runs: one in a region, never a busy one, never below the minimum, one host at a time", () => {
    const any = fc.record({
      hostId: fc.constantFrom("h1", "h2", "h3"),
      region: fc.constantFrom("ams", "fra"),
      load: fc.nat(3),
      overSoftLimit: fc.boolean(),
      unused: fc.boolean(),
      startedAtMs: fc.option(fc.nat(NOW_MS)),
      mayStop: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(any, { maxLength: 12 }),
        fc.nat(3),
        fc.constantFrom("ams", null),
        fc.nat(20),
        (given, minRunning, primaryRegion, pass) => {
          const nowMs = NOW_MS + pass * AUTOSTOP_INTERVAL_MS;
          const of = (hostId: string) =>
            autostop({
              hostId,
              minRunning,
              primaryRegion,
              machines: given.map((each, i) => machine(`m${i}`, { ...each, known: each.hostId === hostId })),
            }, nowMs);
          const all = ["h1", "h2", "h3"].flatMap((hostId) => {
            const stopped = of(hostId);
            for (const each of stopped) expect(each.hostId).toBe(hostId);
            return stopped;
          });
          for (const region of ["ams", "fra"]) {
            const there = all.filter((each) => each.region === region);
            expect(there.length).toBeLessThanOrEqual(1);
            const running = given.filter((each) => each.region === region).length;
            const least = primaryRegion === null || primaryRegion === region ? minRunning : 0;
            if (there.length === 1) expect(running - 1).toBeGreaterThanOrEqual(least);
            const over = given.filter((each) => each.region === region && each.overSoftLimit).length;
            if (there.length === 1 && running > 1) expect(running - (over + 1)).toBeGreaterThanOrEqual(1);
          }
          for (const each of all) expect(each).toMatchObject({ load: 0, unused: true, mayStop: true });
        },
      ),
      { numRuns: 500 },
    );
  });
});

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  FIRST_MS_MAX,
  FIRST_MS_MIN,
  INTERVAL_MS_DEFAULT,
  nextBuildMs,
  type ScheduleState,
} from "./schedule.ts";

const HOUR = 3_600_000;
const state: ScheduleState = {
  ...{ intervalMs: HOUR, startedMs: 0, builtMs: 1_000_000, rows: 1_600, rowsChanged: 0 },
  ...{ failures: 0, triedMs: 0, drawn: 0 },
};
/** Due times over the draws, least and most. */
const span = (some: Partial<ScheduleState>) =>
  [0, 1].map((drawn) => Math.round(nextBuildMs({ ...state, ...some, drawn })))
    .sort((one, two) => one - two);

test("nextBuildMs() is at least once an hour, and every ten minutes where much has changed", () => {
  expect(INTERVAL_MS_DEFAULT).toBe(HOUR);
  expect(span({})).toEqual([1_000_000 + 0.8 * HOUR, 1_000_000 + HOUR]);
  expect(span({ rowsChanged: 99 })).toEqual([1_000_000 + 0.8 * HOUR, 1_000_000 + HOUR]);
  expect(span({ rowsChanged: 100 })).toEqual([1_000_000 + HOUR / 6, 1_000_000 + 0.2 * HOUR]);
});

test("nextBuildMs() waits a little after a start, whatever is missing or late", () => {
  const first = [5 + FIRST_MS_MIN, 5 + FIRST_MS_MAX];
  expect(span({ startedMs: 5, builtMs: null })).toEqual(first);
  expect(span({ startedMs: 5, builtMs: -10 * HOUR })).toEqual(first);
});

test("nextBuildMs() backs off with each failure, up to the interval", () => {
  const from = (failures: number) => span({ failures, triedMs: 100 }).map((ms) => ms - 100);
  expect(from(1)).toEqual([30_000, 60_000]);
  expect(from(2)).toEqual([60_000, 120_000]);
  expect(from(50)).toEqual([HOUR / 2, HOUR]);
});

test("nextBuildMs() spreads a thousand edges that saw the same", () => {
  let seed = 7;
  const random = () => (seed = seed * 48_271 % 2_147_483_647) / 2_147_483_647;
  for (const some of [{}, { rowsChanged: 1_600 }, { failures: 1 }, { builtMs: null }]) {
    const seconds = new Map<number, number>();
    for (let edge = 0; edge < 1_000; edge++) {
      const second = Math.floor(nextBuildMs({ ...state, ...some, drawn: random() }) / 1_000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    expect(Math.max(...seconds.values())).toBeLessThan(80);
  }
});

test("nextBuildMs() never lies before the last build or the last try", () => {
  fc.assert(
    fc.property(
      fc.record({
        intervalMs: fc.integer({ min: 60_000, max: 24 * HOUR }),
        startedMs: fc.integer({ min: 0, max: HOUR }),
        builtMs: fc.option(fc.integer({ min: -24 * HOUR, max: 24 * HOUR })),
        rows: fc.nat(),
        rowsChanged: fc.nat(),
        failures: fc.nat(100),
        triedMs: fc.integer({ min: 0, max: HOUR }),
        drawn: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      }),
      (some) => {
        const due = nextBuildMs(some);
        expect(due).toBeGreaterThan(some.failures > 0 ? some.triedMs : some.builtMs ?? some.startedMs);
        expect(due).toBeLessThanOrEqual(
          Math.max(some.triedMs, some.builtMs ?? 0, some.startedMs) + some.intervalMs,
        );
      },
    ),
  );
});

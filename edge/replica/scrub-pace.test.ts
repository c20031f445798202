import { expect, test } from "bun:test";
import { SCRUB_SHARE, SCRUB_SHARE_MAX, scrubShare } from "./scrub-pace.ts";

/** Reads a million rows, each of which takes so long, and rests as it is told. @returns how long that takes */
function passMs(msPerRow: number, wantedMs: number, rowsAll = 1_000_000): number {
  let [rowsRead, busyMs, nowMs] = [0, 0, 0];
  while (rowsRead < 1_000_000) {
    const tookMs = 1_000 * msPerRow;
    rowsRead += 1_000;
    busyMs += tookMs;
    nowMs += tookMs;
    const share = scrubShare({ rowsRead, rowsAll, busyMs, msLeft: wantedMs - nowMs }, SCRUB_SHARE);
    nowMs += tookMs * (1 - share) / share;
  }
  return nowMs;
}

test("scrubShare() is the least where that suffices", () => {
  expect(passMs(0.002, 20_000)).toBeCloseTo(2_000 / SCRUB_SHARE, -2);
});

test("scrubShare() ends in time where each row takes longer, and never takes more than its most", () => {
  for (const msPerRow of [0.004, 0.008]) {
    expect(passMs(msPerRow, 20_000)).toBeGreaterThan(19_000);
    expect(passMs(msPerRow, 20_000)).toBeLessThan(21_000);
  }
  expect(passMs(0.1, 20_000)).toBeCloseTo(100_000 / SCRUB_SHARE_MAX, -4);
});

test("scrubShare() goes on with the least where there are more rows than it knew of", () => {
  expect(scrubShare({ rowsRead: 11, rowsAll: 10, busyMs: 1, msLeft: -1 }, 0.15)).toBe(0.15);
  expect(scrubShare({ rowsRead: 0, rowsAll: 10, busyMs: 0, msLeft: 1 }, 1)).toBe(1);
});

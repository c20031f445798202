import { expect, test } from "bun:test";
import { GATHER_MS, gatherMs } from "./gathering.ts";

/** Entries that come every so many milliseconds, to a follower that takes in no time what it finds. */
function follow(everyMs: number, entries: number): { batches: number; latestMs: number } {
  let [taken, batches, latestMs, newsMs, readMs] = [0, 0, 0, -Infinity, 0];
  while (taken < entries) {
    const nowMs = Math.max(readMs, taken * everyMs);
    latestMs = Math.max(latestMs, nowMs - taken * everyMs);
    while (taken < entries && taken * everyMs <= nowMs) taken++;
    batches++;
    readMs = nowMs + gatherMs(nowMs - newsMs);
    newsMs = nowMs;
  }
  return { batches, latestMs };
}

test("gatherMs() makes a steady stream cost no more batches than fit between rests", () => {
  for (const everyMs of [0.1, 1, 5, 10, 14]) {
    const { batches, latestMs } = follow(everyMs, 10_000);
    expect(batches).toBeLessThanOrEqual(3 + 10_000 * everyMs / GATHER_MS);
    expect(latestMs).toBeLessThanOrEqual(GATHER_MS);
  }
});

test("gatherMs() keeps nothing waiting that comes alone", () => {
  for (const everyMs of [18, 20, 100, 5_000]) {
    expect(follow(everyMs, 1_000)).toEqual({ batches: 1_000, latestMs: 0 });
  }
});

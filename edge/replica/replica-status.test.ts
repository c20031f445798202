import { describe, expect, test } from "bun:test";
import type { Generation } from "./generation.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import { statusOf, type StatusSources } from "./replica-status.ts";

const sources: StatusSources = {
  ...{ generation: null, nowMs: 100_000, wallMs: 1, startedMs: 90_000, staleAfterMs: 60_000 },
  ...{ silentMs: 0, silentAfterMs: 60_000 },
  ...{
    incidents: { count: 0, incidents: [] },
    healing: null,
    bootstraps: 0,
    lastBootstrap: null,
    lastScrub: null,
  },
};
function followed(
  lastAnswerMs: number | null,
  caughtUpMs: number | null,
  read = (): never[] => [],
  digests: readonly string[] = [],
): Generation {
  const follower = {
    ...{ connected: true, positions: new Map(), publishedMs: new Map() },
    lastAnswerMs,
    caughtUpMs,
  };
  const store = {
    counts: () => ({}),
    quarantined: read,
    digests: { all: new Map(digests.map((owner) => [owner, {}])) },
  };
  return { follower, store, counts: new ReplicaCounts() } as unknown as Generation;
}
const stale = (lastAnswerMs: number | null, caughtUpMs: number | null, more: Partial<StatusSources> = {}) =>
  statusOf({ ...sources, generation: followed(lastAnswerMs, caughtUpMs), ...more }).stale;

describe("statusOf()", () => {
  test("says stale past the bound without an answer, or behind the streams", () => {
    expect(stale(99_000, 99_000)).toBe(false);
    expect(stale(39_000, 39_000)).toBe(true);
    expect(stale(99_000, 39_000)).toBe(true);
  });
  test("says stale where nothing was heard since a start that long ago", () => {
    expect(stale(null, null)).toBe(false);
    expect(stale(null, null, { startedMs: 1 })).toBe(true);
    expect(statusOf({ ...sources, startedMs: 1 })).toMatchObject({ stale: true, connected: false });
  });
  test("says stale past the bound without a word of any owner, where any of them gives digests", () => {
    const silent = (silentMs: number | null, ...digests: string[]) =>
      statusOf({ ...sources, silentMs, generation: followed(99_000, 99_000, undefined, digests) });
    expect(silent(60_000, "api")).toMatchObject({ stale: false, silent_ms: 60_000 });
    expect(silent(60_001, "api")).toMatchObject({ stale: true, silent_ms: 60_001 });
    expect(silent(null, "api")).toMatchObject({ stale: false, silent_ms: null });
    expect(silent(60_001)).toMatchObject({ stale: false, silent_ms: null });
  });
  test("says what it can of a file that cannot be read", () => {
    const broken = followed(99_000, 99_000, () => {
      throw new Error("database disk image is malformed");
    });
    expect(statusOf({ ...sources, generation: broken }).quarantine).toEqual([]);
  });
});

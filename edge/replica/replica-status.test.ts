import { describe, expect, test } from "bun:test";
import type { Generation } from "./generation.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import { statusOf, type StatusSources } from "./replica-status.ts";

const sources: StatusSources = {
  ...{ generation: null, nowMs: 100_000, wallMs: 1, startedMs: 90_000, staleAfterMs: 60_000 },
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
): Generation {
  const follower = {
    ...{ connected: true, positions: new Map(), publishedMs: new Map() },
    lastAnswerMs,
    caughtUpMs,
  };
  const store = { counts: () => ({}), quarantined: read, digests: { all: new Map() } };
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
  test("says what it can of a file that cannot be read", () => {
    const broken = followed(99_000, 99_000, () => {
      throw new Error("database disk image is malformed");
    });
    expect(statusOf({ ...sources, generation: broken }).quarantine).toEqual([]);
  });
});

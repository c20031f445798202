/** What the serving generation remembers of earlier versions, taken along to the one that is to take over. */
import type { ReplicaStore } from "./replica-store.ts";
import type { HistoryLimits, PastVersion } from "./row-history.ts";

/** An edge without a replicator of its own has requests to answer meanwhile. */
export const SLICE_ROWS = 100;
/** The take-over waits no longer for it; what is older than was reached is forgotten. */
export const CARRY_MS_MAX = 10_000;

/** Of a generation that serves. */
export interface EarlierHistory {
  pastPage(beforeId: number, rowsMax: number): PastVersion[];
}

export interface CarryOptions {
  readonly from: EarlierHistory;
  readonly to: Pick<ReplicaStore, "prependPast">;
  readonly limits: HistoryLimits;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** Between two slices; throws where it is to end. */
  readonly rest: () => Promise<void>;
}

export interface CarriedHistory {
  readonly versions: number;
  /** Why not all could be read. */
  readonly unreadable: string | null;
}

export async function carryHistory(
  { from, to, limits, nowMs, wallMs, rest }: CarryOptions,
): Promise<CarriedHistory> {
  const untilMs = nowMs() + CARRY_MS_MAX;
  let versions = 0, beforeId = Infinity;
  while (versions < limits.rowsMax && nowMs() < untilMs) {
    let page: PastVersion[];
    try {
      page = from.pastPage(beforeId, Math.min(SLICE_ROWS, limits.rowsMax - versions));
    } catch (error) {
      return { versions, unreadable: error instanceof Error ? error.message : String(error) };
    }
    const kept = page.filter(({ applied_ms }) => applied_ms >= wallMs() - limits.keptMs);
    if (kept.length > 0) to.prependPast(kept, wallMs());
    versions += kept.length;
    if (page.length < SLICE_ROWS || kept.length < page.length) break;
    beforeId = page.at(-1)!.id;
    await rest();
  }
  return { versions, unreadable: null };
}

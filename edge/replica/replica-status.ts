/** How a replica says that it is, for `/replica` and metrics. Pure. */
import type { DigestState } from "./digest-states.ts";
import type { Generation } from "./generation.ts";
import type { HealerStatus } from "./healer.ts";
import type { BootstrapReport, Incident } from "./incidents.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import type { ScrubResult } from "./scrub.ts";

const QUARANTINE_SHOWN = 20;
const INCIDENTS_SHOWN = 20;
const OWNERS_SHOWN = 50;

export interface ReplicaStatus {
  readonly connected: boolean;
  /** Stream → the last entry taken. */
  readonly streams: Record<string, string>;
  /** Since the newest entry of each stream was published that said when; an owner's digests come every 15 s. */
  readonly stream_ages_ms: Record<string, number>;
  /** Since Redis last answered; null before its first answer. */
  readonly stale_ms: number | null;
  /** Since all that there was had been taken; null before that. */
  readonly behind_ms: number | null;
  /** Since any owner knew no more than what is here; null where none publishes digests, or none was heard yet. */
  readonly silent_ms: number | null;
  /** One of the three is past its bound. */
  readonly stale: boolean;
  readonly stale_after_ms: number;
  readonly silent_after_ms: number;
  /** From the owner's commit to being routed here, of the newest event. */
  readonly last_lag_ms: number | null;
  readonly events_applied: number;
  readonly events_old: number;
  readonly events_quarantined: Record<string, number>;
  readonly quarantined_owners: Record<string, number>;
  readonly unknown_tables: Record<string, number>;
  readonly unknown_columns: number;
  readonly gaps: number;
  /** Times that a stream was read again because an owner's key came after its entries. */
  readonly rewinds: number;
  /** Why the last connection to Redis ended; null while one stands. */
  readonly last_error: string | null;
  readonly reconnects: number;
  readonly tables: Record<string, { rows: number; tombstones: number }>;
  readonly quarantine: Record<string, unknown>[];
  readonly digests: {
    readonly compared: number;
    readonly mismatches: number;
    readonly owners: number;
    readonly differing: number;
    /** Those that differ first; bounded. */
    readonly states: Record<string, OwnerDigestStatus>;
  };
  readonly scrub: { readonly at_ms: number; readonly took_ms: number; readonly rows: number } | null;
  readonly incidents_count: number;
  /** The newest first; bounded. */
  readonly incidents: readonly Incident[];
  /** Another generation is being built, or will be; null where none is. */
  readonly healing: HealerStatus | null;
  readonly bootstraps: number;
  readonly last_bootstrap: BootstrapReport | null;
}

export interface OwnerDigestStatus {
  readonly agrees: boolean;
  readonly at_ms: number;
  readonly position: string;
  readonly agreed_ms: number | null;
  readonly differed_ms: number | null;
}

export interface StatusSources {
  readonly generation: Generation | null;
  readonly nowMs: number;
  readonly wallMs: number;
  readonly startedMs: number;
  /** Of all owners. */
  readonly silentMs: number | null;
  readonly staleAfterMs: number;
  readonly silentAfterMs: number;
  readonly incidents: { readonly count: number; readonly incidents: readonly Incident[] };
  readonly healing: HealerStatus | null;
  readonly bootstraps: number;
  readonly lastBootstrap: BootstrapReport | null;
  readonly lastScrub: (ScrubResult & { readonly atMs: number }) | null;
}

export function statusOf(sources: StatusSources): ReplicaStatus {
  const { generation, nowMs, wallMs, startedMs, staleAfterMs, silentAfterMs, incidents, lastScrub } = sources;
  const follower = generation?.follower, store = generation?.store;
  const counts = generation?.counts ?? new ReplicaCounts();
  const sinceMs = (atMs: number | null | undefined) =>
    typeof atMs === "number" ? Math.round(nowMs - atMs) : null;
  const stale_ms = sinceMs(follower?.lastAnswerMs), behind_ms = sinceMs(follower?.caughtUpMs);
  const digests = store?.digests.all ?? new Map<string, DigestState>();
  // Owners who give no digests have nothing to say while nothing changes.
  const silent_ms = digests.size === 0 || sources.silentMs === null ? null : Math.round(sources.silentMs);
  const unheardMs = Math.max(stale_ms ?? nowMs - startedMs, behind_ms ?? nowMs - startedMs);
  return {
    connected: follower?.connected ?? false,
    streams: Object.fromEntries(follower?.positions ?? []),
    stream_ages_ms: Object.fromEntries(
      [...follower?.publishedMs ?? []].map((
        [stream, publishedMs],
      ) => [stream, Math.max(0, wallMs - publishedMs)]),
    ),
    ...{ stale_ms, behind_ms, silent_ms },
    stale: unheardMs > staleAfterMs || (silent_ms ?? 0) > silentAfterMs,
    stale_after_ms: staleAfterMs,
    silent_after_ms: silentAfterMs,
    last_lag_ms: counts.lastLagMs,
    events_applied: counts.applied,
    events_old: counts.old,
    events_quarantined: { ...counts.quarantinedByReason },
    quarantined_owners: { ...counts.quarantinedByOwner },
    unknown_tables: { ...counts.unknownTables },
    unknown_columns: counts.unknownColumns,
    gaps: counts.gaps,
    rewinds: counts.rewinds,
    last_error: follower?.lastError ?? null,
    reconnects: counts.reconnects,
    tables: orElse({}, () => store?.counts()),
    quarantine: orElse([], () => store?.quarantined(QUARANTINE_SHOWN)),
    digests: digestStatus(counts, digests),
    scrub: lastScrub === null
      ? null
      : { at_ms: lastScrub.atMs, took_ms: Math.round(lastScrub.tookMs), rows: lastScrub.rows },
    incidents_count: incidents.count,
    incidents: incidents.incidents.slice(-INCIDENTS_SHOWN).reverse(),
    healing: sources.healing,
    bootstraps: sources.bootstraps,
    last_bootstrap: sources.lastBootstrap,
  };
}

/** A damaged file must not keep its replica from saying so. */
function orElse<T>(otherwise: T, read: () => T | undefined): T {
  try {
    return read() ?? otherwise;
  } catch {
    return otherwise;
  }
}

function digestStatus(
  counts: ReplicaCounts,
  states: ReadonlyMap<string, DigestState>,
): ReplicaStatus["digests"] {
  const sorted = [...states].sort(([, a], [, b]) => Number(a.agrees) - Number(b.agrees));
  return {
    compared: counts.digests,
    mismatches: counts.digestMismatches,
    owners: sorted.length,
    differing: sorted.filter(([, { agrees }]) => !agrees).length,
    states: Object.fromEntries(
      sorted.slice(0, OWNERS_SHOWN).map(([owner, { agrees, atMs, entryId, agreedMs, differedMs }]) => [
        owner,
        { agrees, at_ms: atMs, position: entryId, agreed_ms: agreedMs, differed_ms: differedMs },
      ]),
    ),
  };
}

/** What a relay has done since its start, and how it is. */
import type { BeginReason } from "./choose-place.ts";

export class RelayCounts {
  entries = 0;
  bytes = 0;
  reconnects = 0;
  /** Times that the regional Redis ended a stream otherwise than it was left. */
  overtaken = 0;
  /** From the upstream's append to ours, by its clock, of the newest entry. */
  lastLagMs: number | null = null;
  readonly begun: Record<BeginReason, number> = { no_copy: 0, copy_cut: 0, trimmed: 0, diverged: 0 };
}

export interface RelayStatus {
  readonly connected: boolean;
  /** Why the last connections ended; null while they stand. */
  readonly last_error: string | null;
  readonly reconnects: number;
  /** Since both servers last answered; null before that. */
  readonly stale_ms: number | null;
  /** Since all that the upstream had was copied; null before that. */
  readonly behind_ms: number | null;
  readonly last_lag_ms: number | null;
  readonly entries_copied: number;
  readonly bytes_copied: number;
  readonly overtaken: number;
  /** Streams whose copy was begun anew, by reason: for all but `no_copy` replicas may have met a gap. */
  readonly begun_anew: Record<BeginReason, number>;
  readonly streams: Record<string, StreamStatus>;
}

export interface StreamStatus {
  /** The last entry that was copied; null while there is none. */
  readonly position: string | null;
  /** The upstream had that entry when it was looked at last. */
  readonly anchored: boolean;
  readonly entries: number;
}

/** How patient a replica is. The values are for production; tests pass shorter ones. */
import { DIGEST_INTERVAL_MS } from "../../control/contract/events.ts";
import { SILENCE_GRACE_MS } from "./judge-generation.ts";
import { type HistoryLimits, NO_HISTORY } from "./row-history.ts";
import { SCRUB_SHARE } from "./scrub-pace.ts";

/** Of a quiet system two digests may be late, or lost with a control process that is started anew. */
export const SILENT_AFTER_MS_MIN = 3 * DIGEST_INTERVAL_MS;

export interface ReplicaTuning {
  /** From the start of one pass over the file to the start of the next, about. */
  readonly scrubIntervalMs: number;
  /** Of this process' time, while a pass is under way; more where a pass would take longer than the interval. */
  readonly scrubShare: number;
  /** How long a tombstone stays at least, and how old a snapshot may be. */
  readonly tombstonesKeptMs: number;
  /** Past this without an answer, or without having caught up, a replica calls itself stale. */
  readonly staleAfterMs: number;
  /** Past this without news of any owner, too; SILENT_AFTER_MS_MIN at least where digests come as in production. */
  readonly silentAfterMs: number;
  readonly history: HistoryLimits;
  /** How long an owner that says nothing keeps a new generation waiting. */
  readonly silenceGraceMs: number;
  /** Between two looks at a generation that is being built. */
  readonly judgeIntervalMs: number;
  /** The first generation is begun after half of this or up to all of it, each further one after twice as long. */
  readonly healDelayMs: number;
  readonly healDelayMsMax: number;
  /** A generation that has served for so long without trouble was a good one: the delays begin anew. */
  readonly healedAfterMs: number;
}

export const REPLICA_TUNING: ReplicaTuning = {
  scrubIntervalMs: 25_000,
  scrubShare: SCRUB_SHARE,
  tombstonesKeptMs: 24 * 3_600_000,
  staleAfterMs: 60_000,
  silentAfterMs: 60_000,
  history: NO_HISTORY,
  silenceGraceMs: SILENCE_GRACE_MS,
  judgeIntervalMs: 250,
  healDelayMs: 1_000,
  healDelayMsMax: 600_000,
  healedAfterMs: 60_000,
};

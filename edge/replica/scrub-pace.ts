/**
 * Which share of its process' time a pass over the file takes. On a quiet machine the least suffices for a million rows; where
 * others take the processor each row takes longer, and the pass takes more of what is left, so that what is wrong with the
 * file is still found in time. Pure.
 */

/** Of the process' time, while a pass is under way. A million rows are read in 20 to 30 s by this. */
export const SCRUB_SHARE = 0.15;
/** Of the time from one pass to the next: what the pass itself should take at most. */
export const SCRUB_PASS_SHARE = 0.8;
/** The follower needs the rest. */
export const SCRUB_SHARE_MAX = 0.5;

export interface PassProgress {
  readonly rowsRead: number;
  /** As many as the store has, about. */
  readonly rowsAll: number;
  /** Spent reading, without the rests between. */
  readonly busyMs: number;
  /** Until it is to end. */
  readonly msLeft: number;
}

export function scrubShare({ rowsRead, rowsAll, busyMs, msLeft }: PassProgress, least: number): number {
  const most = Math.max(least, SCRUB_SHARE_MAX);
  const rowsLeft = Math.max(0, rowsAll - rowsRead);
  if (rowsRead === 0 || rowsLeft === 0) return least;
  if (msLeft <= 0) return most;
  return Math.min(most, Math.max(least, rowsLeft * (busyMs / rowsRead) / msLeft));
}

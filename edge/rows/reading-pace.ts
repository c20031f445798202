/**
 * How much of its time a relay gives to rows while it serves: slices of a few milliseconds, and a rest after each. Rows
 * that come faster are coalesced in the meantime, so that a storm costs little more than a steady stream. Pure.
 */
export const SLICE_MS = 2;
export const SLICE_ROWS_MIN = 16;
export const SLICE_ROWS_MAX = 2_000;
export const SLICE_ROWS_FIRST = 128;
/** For each millisecond of reading: a tenth of the relay's time, */
const REST_SHARE_MAX = 9;
/** and a quarter where what is pending would take longer than this. */
export const PENDING_MS_MAX = 2_000;
const REST_SHARE_MIN = 3;
export const REST_MS_MAX = 20;
export const RETRY_MS_MIN = 50;
export const RETRY_MS_MAX = 5_000;

/** @param rows how many the last slice had room for; @param read how many it read */
export function nextSliceRows(rows: number, read: number, tookMs: number): number {
  // A slice that was not full says little about a full one, unless it took too long.
  if (read < rows && tookMs <= SLICE_MS) return rows;
  const fitting = Math.floor(read * SLICE_MS / Math.max(tookMs, 0.01));
  return Math.max(SLICE_ROWS_MIN, Math.min(SLICE_ROWS_MAX, fitting, rows * 2));
}

/**
 * As long as lets what is left be read within PENDING_MS_MAX, between three and nine times what the slice took. A few rows
 * are no storm, and the next few should not wait for them.
 *
 * @param read how many rows the slice read; @param left how many are pending after it, Infinity where that is not known
 */
export function restMs(tookMs: number, read: number, left: number): number {
  const affordable = PENDING_MS_MAX * read / (Math.max(left, 1) * Math.max(tookMs, 0.01)) - 1;
  const share = read < SLICE_ROWS_MIN
    ? REST_SHARE_MIN
    : Math.max(REST_SHARE_MIN, Math.min(REST_SHARE_MAX, affordable));
  return Math.min(REST_MS_MAX, tookMs * share);
}

/** @param failures in a row, this one included */
export function retryMs(failures: number, random: () => number): number {
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures - 1, 10));
  return ceiling / 2 + random() * ceiling / 2;
}

/**
 * How much of its time a relay gives to rows while it serves: slices of a few milliseconds, and a rest after each. Rows
 * that come faster are coalesced in the meantime, so that a storm costs little more than a steady stream. Pure.
 */
export const SLICE_MS = 3;
export const SLICE_ROWS_MIN = 16;
export const SLICE_ROWS_MAX = 2_000;
export const SLICE_ROWS_FIRST = 128;
/** For each millisecond of reading; a quarter of the relay's time then, at most, while rests are below their maximum. */
const REST_SHARE = 3;
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

export function restMs(tookMs: number): number {
  return Math.min(REST_MS_MAX, tookMs * REST_SHARE);
}

/** @param failures in a row, this one included */
export function retryMs(failures: number, random: () => number): number {
  const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures - 1, 10));
  return ceiling / 2 + random() * ceiling / 2;
}

/**
 * How long a process that crashed stays away, doubling with each crash so that a crash loop costs little. A worker comes
 * back at once the first time, since clients miss it. A replicator never does: what made it crash may have come to 1,000
 * edges at the same moment, and those should not all ask Redis for everything at the next.
 */
export const RESTART_DELAY_MS_MIN = 100;
export const RESTART_DELAY_MS_MAX = 10_000;
export const REPLICATOR_DELAY_MS_MIN = 1_000;
export const REPLICATOR_DELAY_MS_MAX = 30_000;
/** A process that lived this long had no part in the crashes before it. */
export const STABLE_MS = 30_000;

/** @param crashes in a row, this one included */
export function restartDelayMs(crashes: number, random: () => number): number {
  if (crashes <= 1) return 0;
  const ceiling = Math.min(RESTART_DELAY_MS_MAX, RESTART_DELAY_MS_MIN * 2 ** (crashes - 1));
  return ceiling / 2 + random() * ceiling / 2;
}

/** @param crashes in a row, this one included */
export function replicatorDelayMs(crashes: number, random: () => number): number {
  const ceiling = Math.min(REPLICATOR_DELAY_MS_MAX, REPLICATOR_DELAY_MS_MIN * 2 ** (crashes - 1));
  return ceiling / 10 + random() * ceiling * 9 / 10;
}

/** @param crashes in a row before this one */
export function crashesInARow(crashes: number, livedMs: number): number {
  return livedMs >= STABLE_MS ? 1 : crashes + 1;
}

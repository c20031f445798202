/** How long a worker that crashed stays away: at once the first time, then doubling, so that a crash loop costs little. */
export const RESTART_DELAY_MS_MIN = 100;
export const RESTART_DELAY_MS_MAX = 10_000;
/** A worker that lived this long had no part in the crashes before it. */
export const STABLE_MS = 30_000;

/** @param crashes in a row, this one included */
export function restartDelayMs(crashes: number, random: () => number): number {
  if (crashes <= 1) return 0;
  const ceiling = Math.min(RESTART_DELAY_MS_MAX, RESTART_DELAY_MS_MIN * 2 ** (crashes - 1));
  return ceiling / 2 + random() * ceiling / 2;
}

/** @param crashes in a row before this one */
export function crashesInARow(crashes: number, livedMs: number): number {
  return livedMs >= STABLE_MS ? 1 : crashes + 1;
}

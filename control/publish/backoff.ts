/**
 * How long to wait before the next try: doubling from `firstMs` to `maxMs`, of which half is drawn at random, so that
 * many processes that lost one server do not come back in step.
 *
 * @param failures Tries that failed in a row, 1 or more.
 * @param random In [0, 1).
 */
export function backoffMs(failures: number, random: number, firstMs = 100, maxMs = 5_000): number {
  const whole = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round(whole / 2 + (whole / 2) * random);
}

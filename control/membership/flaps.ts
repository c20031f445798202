/**
 * Flap damping: a host that dies and comes back is told as alive at once the first time. If it has died more often in the
 * last minutes it is told as suspect for a while, longer each time, and whoever leaves dead hosts alone goes on doing so.
 * Only what is told is held back; between the agents it is a member like any other. Each agent judges by what it saw.
 */
export const FLAP_HALF_LIFE_MS = 120_000;
export const HOLD_MS_FIRST = 5_000;
export const HOLD_MS_MAX = 60_000;
/** Below two deaths (one, and what is left of one before) nothing is held. */
const FLAPS_FREE = 1.5;

/** What is left of `flaps` after some time. */
export function flapsAfter(flaps: number, passedMs: number): number {
  return flaps * 2 ** (-passedMs / FLAP_HALF_LIFE_MS);
}

/** @param flaps deaths, each halved for every half-life since */
export function holdMs(flaps: number): number {
  if (flaps < FLAPS_FREE) return 0;
  return Math.min(HOLD_MS_MAX, HOLD_MS_FIRST * 2 ** Math.floor(flaps - FLAPS_FREE));
}

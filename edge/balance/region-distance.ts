/**
 * How far each region is from this edge, by the time that connections to its machines took. Connecting costs one round
 * trip plus whatever made both ends slow just then, so the least of a while is the truth and all else is noise: a minimum
 * over the last one to two windows, as TCP BBR keeps its own. An average would move a region away because one of its
 * machines was busy.
 */
export const DISTANCE_WINDOW_MS = 60_000;
/** Regions are at most 26³; a fleet has some dozens. */
export const REGIONS_MAX = 256;

interface Distance {
  windowStartMs: number;
  /** Least of the window that runs, and of the one before; Infinity where there was none. */
  nowMs: number;
  beforeMs: number;
}

export class RegionDistances {
  readonly #regions = new Map<string, Distance>();
  /** Changes when the order of the regions may have: whoever keeps a sorted list sorts it again. */
  version = 0;

  /** @param tookMs from the connection attempt to its success */
  observe(region: string, tookMs: number, nowMs: number): void {
    let distance = this.#regions.get(region);
    if (distance === undefined) {
      if (this.#regions.size >= REGIONS_MAX) return;
      distance = { windowStartMs: nowMs, nowMs: Infinity, beforeMs: Infinity };
      this.#regions.set(region, distance);
    }
    const before = this.of(region);
    if (nowMs - distance.windowStartMs > DISTANCE_WINDOW_MS) {
      distance.beforeMs = distance.nowMs;
      distance.nowMs = Infinity;
      distance.windowStartMs = nowMs;
    }
    if (tookMs < distance.nowMs) distance.nowMs = tookMs;
    if (this.of(region) !== before) this.version++;
  }

  /** Milliseconds; Infinity where no connection has been made yet. */
  of(region: string): number {
    const distance = this.#regions.get(region);
    return distance === undefined ? Infinity : Math.min(distance.nowMs, distance.beforeMs);
  }

  /** For `sort`: nearest first, unknown ones last and by name. */
  compare(one: string, two: string): number {
    const a = this.of(one), b = this.of(two);
    if (a !== b) return a < b ? -1 : 1;
    return one < two ? -1 : one > two ? 1 : 0;
  }
}

/** A token bucket: so many a second, so many at once. Pure; the clock is passed in. */
export class Bucket {
  readonly #perS: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor(perS: number, burst: number, nowMs: number) {
    this.#perS = perS;
    this.#burst = this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes `count`, which may be more than there are; answers for how many milliseconds nothing more is to be taken. */
  take(count: number, nowMs: number): number {
    const gained = Math.max(0, nowMs - this.#atMs) * this.#perS / 1_000;
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained) - count;
    return this.#tokens >= 0 ? 0 : Math.ceil(-this.#tokens * 1_000 / this.#perS);
  }
}

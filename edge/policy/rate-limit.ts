/**
 * A token bucket for each client: `burst` requests at once, then `requests` in `per_s` seconds. A bucket is kept as one
 * number, the time at which it will be full again (the generic cell rate algorithm), so a client costs one entry of a
 * map, and a bucket that is full is the same as none.
 *
 * The table has two generations. A bucket that is used moves to the young one; when the old one is dropped, what is left
 * there has not been used for as long as a bucket takes to fill, and nothing is lost. Only where more clients than
 * `CLIENTS_MAX` come within that time are buckets forgotten early; `PolicyCounts` has their number.
 */
import type { PolicyCounts } from "./policy-counts.ts";

/** Of each generation. */
export const CLIENTS_MAX = 16_384;

export class RateLimit {
  readonly #intervalMs: number;
  readonly #burst: number;
  readonly #clientsMax: number;
  readonly #counts: PolicyCounts;
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #bornMs = -Infinity;

  constructor(
    options: { requests: number; perS: number; burst?: number },
    counts: PolicyCounts,
    clientsMax: number = CLIENTS_MAX,
  ) {
    this.#intervalMs = options.perS * 1_000 / options.requests;
    this.#burst = options.burst ?? options.requests;
    this.#clientsMax = clientsMax;
    this.#counts = counts;
  }

  get clients(): number {
    return this.#young.size + this.#old.size;
  }

  /**
   * Takes one token.
   * @returns 0 where the request may pass; else milliseconds until one would
   */
  take(client: string, nowMs: number): number {
    this.#age(nowMs);
    const known = this.#young.get(client) ?? this.#old.get(client) ?? 0;
    const fullMs = Math.max(known, nowMs) + this.#intervalMs;
    const waitMs = fullMs - nowMs - this.#burst * this.#intervalMs;
    // A thousandth of a millisecond is the clock's noise and not the client's haste.
    if (waitMs > 0.001) return waitMs;
    this.#young.set(client, fullMs);
    return 0;
  }

  #age(nowMs: number): void {
    const fillMs = this.#burst * this.#intervalMs;
    const ripe = nowMs - this.#bornMs >= fillMs;
    if (!ripe && this.#young.size < this.#clientsMax) return;
    if (!ripe && this.#old.size > 0) this.#counts.rateLimitsForgotten++;
    this.#old = this.#young;
    this.#young = new Map();
    this.#bornMs = nowMs;
  }
}

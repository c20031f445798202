/** The key sets that services of this edge name, by URL: two services with one issuer read its keys once. */
import { KeySet } from "./key-set.ts";
import type { PolicyCounts } from "./policy-counts.ts";
import { readKeys } from "./read-keys.ts";

/** Beyond, the set that was not asked for the longest goes; it is read again when it is needed. */
export const KEY_SETS_MAX = 1_024;

export interface KeySetsOptions {
  readonly nowMs: () => number;
  /** Plain HTTP and private addresses too: for an issuer inside the operator's network. */
  readonly privately: boolean;
  readonly cooldownMs?: number;
  readonly counts: PolicyCounts;
}

export class KeySets {
  readonly #options: KeySetsOptions;
  readonly #sets = new Map<string, KeySet>();

  constructor(options: KeySetsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sets.size;
  }

  of(url: string): KeySet {
    const known = this.#sets.get(url);
    if (known !== undefined) {
      // A map keeps the order of insertion: the first is the one used longest ago.
      this.#sets.delete(url);
      this.#sets.set(url, known);
      return known;
    }
    if (this.#sets.size >= KEY_SETS_MAX) {
      this.#sets.delete(this.#sets.keys().next().value!);
      this.#options.counts.keySetsForgotten++;
    }
    const { nowMs, privately, cooldownMs } = this.#options;
    const set = new KeySet({
      nowMs,
      read: () => readKeys(url, privately),
      ...(cooldownMs === undefined ? {} : { cooldownMs }),
    });
    this.#sets.set(url, set);
    return set;
  }
}

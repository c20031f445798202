/**
 * The keys behind one `jwks_url` (RFC 7517), fetched when first needed and kept. Keys rotate: a set is read again when it
 * is old, in the background, and at once when a token names a key that it lacks, though not more often than the cooldown
 * allows, or everybody could make the edge fetch by sending made-up key ids. An issuer that is away does not lock its
 * users out: the keys that were good stay good for a day.
 */
import { createLocalJWKSet, type JSONWebKeySet } from "jose";
import { GodwitError } from "../../control/contract/errors.ts";

/** A set older than this is read again. A key that its issuer withdrew works for this long at most, issuer permitting. */
export const KEYS_FRESH_MS = 600_000;
/** A set that cannot be read again is used for this long. */
export const KEYS_STALE_MS_MAX = 86_400_000;
/** Between two readings, whatever asks for them. */
export const KEYS_COOLDOWN_MS = 30_000;

export type KeyLookup = ReturnType<typeof createLocalJWKSet>;

export interface KeySetOptions {
  readonly nowMs: () => number;
  /** Reads and parses the set. */
  readonly read: () => Promise<JSONWebKeySet>;
  readonly cooldownMs?: number;
}

export class KeySet {
  readonly #options: KeySetOptions;
  readonly #cooldownMs: number;
  #keys: KeyLookup | null = null;
  #readMs = -Infinity;
  #triedMs = -Infinity;
  #reading: Promise<void> | null = null;
  #failure: unknown = null;

  constructor(options: KeySetOptions) {
    this.#options = options;
    this.#cooldownMs = options.cooldownMs ?? KEYS_COOLDOWN_MS;
  }

  /** @throws `edge.keys_unavailable` where no usable keys are there and none could be read */
  async keys(): Promise<KeyLookup> {
    const ageMs = this.#options.nowMs() - this.#readMs;
    if (ageMs >= KEYS_STALE_MS_MAX) {
      this.#keys = null;
      await this.#read();
    } else if (ageMs >= KEYS_FRESH_MS) void this.#read();
    if (this.#keys === null) throw unavailable(this.#failure);
    return this.#keys;
  }

  /** A token names a key that is not there. @returns the keys as they are now, null where they were not read again */
  async again(than: KeyLookup): Promise<KeyLookup | null> {
    // Another request may have brought them meanwhile.
    if (this.#keys === than) await this.#read();
    return this.#keys === than ? null : this.#keys;
  }

  /** One reading at a time, for all who wait; never rejects. */
  #read(): Promise<void> {
    if (this.#reading !== null) return this.#reading;
    const nowMs = this.#options.nowMs();
    if (nowMs - this.#triedMs < this.#cooldownMs) return Promise.resolve();
    this.#triedMs = nowMs;
    this.#reading = this.#options.read().then((set) => {
      this.#keys = createLocalJWKSet(set);
      this.#readMs = this.#options.nowMs();
      this.#failure = null;
    }).catch((error) => {
      this.#failure = error;
    }).finally(() => {
      this.#reading = null;
    });
    return this.#reading;
  }
}

function unavailable(cause: unknown): GodwitError {
  return new GodwitError(
    "edge.keys_unavailable",
    "Cannot read the keys that this service's tokens are signed with",
    {
      fault: "app",
      hint: "Check the service's jwks_url: it must answer with a JSON key set over HTTPS.",
      cause,
    },
  );
}

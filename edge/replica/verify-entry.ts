/**
 * Whether an entry was signed by the owner that it names: `api` by the key of the configuration, a worker by its row of
 * table `publishers`, which `api` writes. A key that is used is remembered until its row changes, since making one of its
 * 32 bytes costs as much as a verification.
 */
import type { KeyObject } from "node:crypto";
import { isSignedBy, type PublisherKey, verifyingKey } from "../../control/contract/signing.ts";
import type { StreamEntry } from "../../control/contract/stream-entry.ts";

export const KEYS_CACHED_MAX = 4_096;

export type SignatureFault = "unsigned" | "bad_signature" | "unknown_publisher";

export interface EntryVerifierOptions {
  /** Null: signatures are not looked at. */
  readonly apiPublicKey: PublisherKey | null;
  /** From the table `publishers`. */
  readonly publisherKey: (owner: string) => PublisherKey | null;
}

export class EntryVerifier {
  readonly #options: EntryVerifierOptions;
  /** The one that was used last stands last. */
  readonly #keys = new Map<string, KeyObject>();

  constructor(options: EntryVerifierOptions) {
    this.#options = options;
    if (options.apiPublicKey !== null) this.#keys.set("api", verifyingKey(options.apiPublicKey));
  }

  /** Whether signatures are looked at. */
  get strict(): boolean {
    return this.#options.apiPublicKey !== null;
  }

  /** @returns null where the entry may be believed */
  faultOf(stream: string, { owner, kind, payload, signature }: StreamEntry): SignatureFault | null {
    if (!this.strict) return null;
    if (signature === null) return "unsigned";
    const key = this.#keyOf(owner);
    if (key === null) return "unknown_publisher";
    return isSignedBy(stream, owner, kind, payload, signature, key) ? null : "bad_signature";
  }

  /** Its row has changed. */
  forget(owner: string): void {
    if (owner !== "api") this.#keys.delete(owner);
  }

  #keyOf(owner: string): KeyObject | null {
    const known = this.#keys.get(owner);
    if (owner === "api") return known ?? null;
    if (known !== undefined) {
      this.#keys.delete(owner);
      this.#keys.set(owner, known);
      return known;
    }
    const published = this.#options.publisherKey(owner);
    if (published === null) return null;
    const key = verifyingKey(published);
    if (this.#keys.size >= KEYS_CACHED_MAX) {
      const [oldest] = [...this.#keys.keys()].filter((each) => each !== "api");
      if (oldest !== undefined) this.#keys.delete(oldest);
    }
    this.#keys.set(owner, key);
    return key;
  }
}

/**
 * How many handshakes may begin: a signature costs the edge about a hundred times what it costs who asks for it. Token
 * buckets for each range of client addresses (a /24 of IPv4, a /48 of IPv6: what one party commonly holds) and for each
 * server name. The tables are bounded: when one is full, the bucket used longest ago goes, so an attacker with very many
 * ranges can make the edge forget, and is then met by the bound of connections. Loopback is not limited.
 */

export interface HandshakeLimits {
  /** Handshakes a second from one range of addresses, and at once. */
  readonly perRangeS: number;
  readonly rangeBurst: number;
  /** Handshakes a second for one server name, and at once. */
  readonly perNameS: number;
  readonly nameBurst: number;
  /** Handshakes under way at the same time. */
  readonly pendingMax: number;
  /** From the accepted connection to the end of the handshake. */
  readonly waitMsMax: number;
  /** Buckets kept in each of the two tables. */
  readonly bucketsMax: number;
  readonly limitLoopback: boolean;
}

export const HANDSHAKE_LIMITS: HandshakeLimits = {
  perRangeS: 100,
  rangeBurst: 500,
  perNameS: 1_000,
  nameBurst: 4_000,
  pendingMax: 4_096,
  waitMsMax: 10_000,
  bucketsMax: 16_384,
  limitLoopback: false,
};

export class TokenBuckets {
  readonly #perS: number;
  readonly #burst: number;
  readonly #bucketsMax: number;
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();
  /** Buckets that went although they were not full: each may have let somebody in too early. */
  forgotten = 0;

  constructor(perS: number, burst: number, bucketsMax: number) {
    this.#perS = perS;
    this.#burst = burst;
    this.#bucketsMax = bucketsMax;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** @returns false where the bucket is empty; nothing is taken then */
  take(key: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      this.#buckets.set(key, { tokens: this.#burst - 1, atMs: nowMs });
      if (this.#buckets.size > this.#bucketsMax) this.#forgetOldest(nowMs);
      return true;
    }
    const tokens = Math.min(this.#burst, bucket.tokens + (nowMs - bucket.atMs) * this.#perS / 1_000);
    const allowed = tokens >= 1;
    bucket.tokens = allowed ? tokens - 1 : tokens;
    bucket.atMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    return allowed;
  }

  #forgetOldest(nowMs: number): void {
    for (const [key, { tokens, atMs }] of this.#buckets) {
      this.#buckets.delete(key);
      if (tokens + (nowMs - atMs) * this.#perS / 1_000 < this.#burst) this.forgotten++;
      return;
    }
  }
}

/**
 * @param address as a socket gives it; IPv4 mapped into IPv6 counts as IPv4
 * @returns null for loopback
 */
export function addressRange(address: string): string | null {
  const plain = address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
  if (!plain.includes(":")) {
    return plain.startsWith("127.") ? null : plain.slice(0, Math.max(0, plain.lastIndexOf(".")));
  }
  if (plain === "::1") return null;
  // Up to three groups stand before a "::", and groups that it stands for are zero.
  const groups = plain.split(":", 4);
  const empty = groups.indexOf("");
  const first = (empty === -1 ? groups : groups.slice(0, empty)).slice(0, 3);
  while (first.length < 3) first.push("0");
  return `${first.join(":")}::`;
}

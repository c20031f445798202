/**
 * A request's body, kept while its machine may still ask for a replay: until the response begins, and only up to
 * `REPLAY_BODY_BYTES_MAX`. The reference names 1 MB in one place and 10 MB in another; 1 MB is what every app must be able
 * to live with, and ten thousand uploads at once must not cost more memory than there is. All bodies together have a bound
 * of their own; past either, the body is let go and the request can no longer be replayed.
 */
export const REPLAY_BODY_BYTES_MAX = 1_048_576;
/** Of all exchanges of this edge. */
export const REPLAY_BODIES_BYTES_MAX = 67_108_864;

/** A part of a read is kept without a copy where the whole read is at most this many times as large. */
const PART_HOLDS_MAX = 2;

export class KeptBodies {
  /** Bytes held now. */
  bytes = 0;
  /** Bodies let go because all of them together were too much. */
  overBudget = 0;
}

export class KeptBody {
  readonly #all: KeptBodies;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** Memory that the pieces hold, all of their reads included. */
  #held = 0;
  /** Not all that was sent is here. */
  lost = false;

  constructor(all: KeptBodies) {
    this.#all = all;
  }

  /** @param bytes as they went to a machine, framing included */
  add(bytes: Buffer): void {
    if (this.lost) return;
    const { length } = bytes;
    // A part holds all of its read: what stands behind a request's head is kept as it is, what is small in a large read
    // is copied.
    const read = bytes.buffer.byteLength;
    const asItIs = read <= PART_HOLDS_MAX * length;
    const held = asItIs ? read : length;
    const over = this.#all.bytes + held > REPLAY_BODIES_BYTES_MAX;
    if (over) this.#all.overBudget++;
    if (over || this.#bytes + length > REPLAY_BODY_BYTES_MAX) {
      return this.drop();
    }
    this.#pieces.push(asItIs ? bytes : Buffer.from(bytes));
    this.#bytes += length;
    this.#held += held;
    this.#all.bytes += held;
  }

  /** All that was sent so far, for the next machine. */
  whole(): Buffer | null {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0] ?? null;
  }

  /**
   * It is not needed any more, or cannot be kept.
   * @param spent called for what nobody else refers to; null where somebody might
   */
  drop(spent: ((bytes: Buffer) => void) | null = null): void {
    this.lost = true;
    if (spent !== null) this.#pieces.forEach(spent);
    this.#all.bytes -= this.#held;
    this.#bytes = this.#held = 0;
    this.#pieces = [];
  }
}

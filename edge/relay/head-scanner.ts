/**
 * Finds the end of a message's head in bytes that come in pieces of any size. It looks at line ends and lengths alone,
 * one byte at a time, so that the pieces' borders cannot change its answer; what the lines say is read afterwards from
 * one string, which costs one native copy and makes every later slice free.
 */
import { BYTE_CLASS, CR, LF, TOKEN } from "./byte-class.ts";
import type { Limits } from "./limits.ts";
import { BAD_LINE_END, BAD_REQUEST_LINE, HEAD_TOO_LARGE, type Refusal, TARGET_TOO_LONG } from "./refusal.ts";

export const NEED_MORE = -1;
export const REFUSED = -2;

/** RFC 9112 section 2.2: a server should ignore an empty line before the request line. */
const EMPTY_LINES_BEFORE_MAX = 1;

const HELD_BYTES_MIN = 1_024;
const HEAD_END = Buffer.from("\r\n\r\n");

export class HeadScanner {
  readonly #limits: Limits;
  /** What came before, in one growing buffer: a string for each piece would cost sixty times the bytes. */
  #held: Buffer | null = null;
  #heldBytes = 0;
  #lines = 0;
  #lineBytes = 0;
  #headBytes = 0;
  #emptyBefore = 0;
  #sawCr = false;
  /** The head once complete: each line with its CR LF, without the empty line. */
  text = "";
  /** Why `feed` said REFUSED. */
  refusal: Refusal | null = null;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** True while part of a head has been seen. */
  get inHead(): boolean {
    return this.#headBytes > 0;
  }

  /** @returns the index behind the head, NEED_MORE or REFUSED */
  feed(bytes: Buffer, from: number): number {
    if (this.#headBytes === 0 && this.#emptyBefore === 0 && !this.#sawCr) {
      const end = this.#wholeHead(bytes, from);
      if (end !== NEED_MORE) return end;
    }
    return this.#feedBytes(bytes, from);
  }

  /**
   * A valid head that came in one piece, found by native searches: what nearly every message is.
   * @returns NEED_MORE where it is anything else; `#feedBytes` says what
   */
  #wholeHead(bytes: Buffer, from: number): number {
    const { requestLineBytesMax, fieldLineBytesMax, headBytesMax, fieldsMax } = this.#limits;
    const end = bytes.indexOf(HEAD_END, from);
    if (end === -1 || end - from > headBytesMax - HEAD_END.length) return NEED_MORE;
    if ((BYTE_CLASS[bytes[from]!]! & TOKEN) === 0) return NEED_MORE;
    const text = bytes.toString("latin1", from, end + 2);
    let lines = 0;
    for (let at = 0; at < text.length; lines++) {
      const lf = text.indexOf("\n", at);
      if (text.indexOf("\r", at) !== lf - 1) return NEED_MORE;
      if (lf - 1 - at > (lines === 0 ? requestLineBytesMax : fieldLineBytesMax)) return NEED_MORE;
      at = lf + 1;
    }
    if (lines > fieldsMax + 1) return NEED_MORE;
    this.text = text;
    return end + HEAD_END.length;
  }

  #feedBytes(bytes: Buffer, from: number): number {
    const { requestLineBytesMax, fieldLineBytesMax, headBytesMax, fieldsMax } = this.#limits;
    let lines = this.#lines, lineBytes = this.#lineBytes, headBytes = this.#headBytes, sawCr = this.#sawCr;
    let start = from;
    const length = bytes.length;
    for (let i = from; i < length; i++) {
      const byte = bytes[i]!;
      headBytes++;
      if (byte === LF) {
        if (!sawCr) return this.#refuse(BAD_LINE_END);
        sawCr = false;
        if (lineBytes > 0) {
          lines++;
          lineBytes = 0;
          if (lines > fieldsMax + 1) return this.#refuse(HEAD_TOO_LARGE);
          continue;
        }
        if (lines === 0) {
          if (++this.#emptyBefore > EMPTY_LINES_BEFORE_MAX) return this.#refuse(BAD_REQUEST_LINE);
          this.#heldBytes = 0;
          headBytes = 0;
          start = i + 1;
          continue;
        }
        this.text = this.#textUpTo(bytes, start, i + 1);
        this.#reset();
        return i + 1;
      }
      if (sawCr) return this.#refuse(BAD_LINE_END);
      if (byte === CR) {
        sawCr = true;
        continue;
      }
      if (lineBytes === 0 && lines === 0 && (BYTE_CLASS[byte]! & TOKEN) === 0) {
        return this.#refuse(BAD_REQUEST_LINE);
      }
      lineBytes++;
      if (lineBytes > (lines === 0 ? requestLineBytesMax : fieldLineBytesMax)) {
        return this.#refuse(lines === 0 ? TARGET_TOO_LONG : HEAD_TOO_LARGE);
      }
      if (headBytes > headBytesMax) return this.#refuse(HEAD_TOO_LARGE);
    }
    this.#hold(bytes, start);
    this.#lines = lines;
    this.#lineBytes = lineBytes;
    this.#headBytes = headBytes;
    this.#sawCr = sawCr;
    return NEED_MORE;
  }

  #hold(bytes: Buffer, from: number): void {
    const needed = this.#heldBytes + bytes.length - from;
    if (this.#held === null || this.#held.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(HELD_BYTES_MIN, needed, 2 * this.#heldBytes));
      this.#held?.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
    bytes.copy(this.#held, this.#heldBytes, from);
    this.#heldBytes = needed;
  }

  /** @returns the head without its empty line, which ends at `end` and may have begun in what came before */
  #textUpTo(bytes: Buffer, start: number, end: number): string {
    if (this.#heldBytes === 0) return bytes.toString("latin1", start, end - 2);
    return (this.#held!.toString("latin1", 0, this.#heldBytes) + bytes.toString("latin1", start, end)).slice(
      0,
      -2,
    );
  }

  #refuse(why: Refusal): number {
    this.refusal = why;
    return REFUSED;
  }

  #reset(): void {
    this.#held = null;
    this.#heldBytes =
      this.#lines =
      this.#lineBytes =
      this.#headBytes =
      this.#emptyBefore =
        0;
    this.#sawCr = false;
  }
}

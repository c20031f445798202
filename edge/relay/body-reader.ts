/**
 * Finds where a message's body ends (RFC 9112 section 6 and 7). Bytes pass through as they came; this only counts them,
 * and for a chunked body checks each framing byte: no spaces around sizes, no bare line ends, bounded size lines and
 * trailers, no framing fields in trailers. Pieces of any size give the same answer.
 */
import { BYTE_CLASS, CR, HEX, LF, SEMICOLON, VALUE } from "./byte-class.ts";
import { FieldCursor } from "./field-cursor.ts";
import type { Limits } from "./limits.ts";
import { CHUNKED, UNTIL_CLOSE } from "./response-head.ts";

/** 12 hexadecimal digits: 256 TiB, below Number.MAX_SAFE_INTEGER. */
const SIZE_DIGITS_MAX = 12;
const FORBIDDEN_TRAILERS = new Set([
  "content-length",
  "transfer-encoding",
  "host",
  "connection",
  "upgrade",
  "te",
  "trailer",
  "content-encoding",
  "content-type",
  "content-range",
  "expect",
  "authorization",
  "cookie",
  "set-cookie",
]);

type Step = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailer" | "trailer-lf";

const cursor = new FieldCursor();

/** Receives a span of payload: bytes without the chunks' framing. */
export type PayloadSink = (bytes: Buffer, from: number, to: number) => void;

export class BodyReader {
  readonly #limits: Limits;
  #mode: "length" | "chunked" | "until-close" = "length";
  #left = 0;
  #step: Step = "size";
  #digits = 0;
  #lineBytes = 0;
  #trailerLine = "";
  #trailerBytes = 0;
  done = true;
  invalid = false;
  /** The body is larger than `bodyBytesMax`. */
  tooLarge = false;
  /** Payload bytes so far. */
  payloadBytes = 0;
  onPayload: PayloadSink | null = null;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** @param length bytes, CHUNKED or UNTIL_CLOSE */
  begin(length: number): void {
    this.#mode = length === CHUNKED ? "chunked" : length === UNTIL_CLOSE ? "until-close" : "length";
    this.#left = length > 0 ? length : 0;
    this.done = length === 0;
    this.invalid = this.tooLarge = false;
    this.payloadBytes = 0;
    this.#step = "size";
    this.#digits = this.#lineBytes = this.#trailerBytes = 0;
    this.#trailerLine = "";
    this.onPayload = null;
  }

  get untilClose(): boolean {
    return this.#mode === "until-close";
  }

  /** @returns the index behind the last byte that belongs to the body; look at `invalid` and `done` afterwards */
  feed(bytes: Buffer, from: number): number {
    if (this.done || this.invalid) return from;
    if (this.#mode === "chunked") return this.#feedChunked(bytes, from);
    let to = bytes.length;
    if (this.#mode === "length") {
      to = Math.min(to, from + this.#left);
      this.#left -= to - from;
      this.done = this.#left === 0;
    }
    this.#payload(bytes, from, to);
    return to;
  }

  #payload(bytes: Buffer, from: number, to: number): void {
    this.payloadBytes += to - from;
    if (this.payloadBytes > this.#limits.bodyBytesMax) this.tooLarge = this.invalid = true;
    this.onPayload?.(bytes, from, to);
  }

  #fail(at: number): number {
    this.invalid = true;
    return at;
  }

  #feedChunked(bytes: Buffer, from: number): number {
    const { chunkLineBytesMax, trailerBytesMax } = this.#limits;
    let at = from;
    while (at < bytes.length) {
      if (this.#step === "data") {
        const to = Math.min(bytes.length, at + this.#left);
        this.#payload(bytes, at, to);
        if (this.invalid) return to;
        this.#left -= to - at;
        at = to;
        if (this.#left === 0) this.#step = "data-cr";
        continue;
      }
      const byte = bytes[at++]!;
      switch (this.#step) {
        case "size":
          if ((BYTE_CLASS[byte]! & HEX) !== 0) {
            if (++this.#digits > SIZE_DIGITS_MAX) return this.#fail(at);
            this.#left = this.#left * 16 + (byte <= 57 ? byte - 48 : (byte | 32) - 87);
          } else if (this.#digits > 0 && byte === SEMICOLON) {
            this.#step = "extension";
            this.#lineBytes = this.#digits + 1;
          } else if (this.#digits > 0 && byte === CR) this.#step = "size-lf";
          else return this.#fail(at);
          break;
        case "extension":
          if (byte === CR) this.#step = "size-lf";
          else if ((BYTE_CLASS[byte]! & VALUE) === 0) return this.#fail(at);
          if (++this.#lineBytes > chunkLineBytesMax) return this.#fail(at);
          break;
        case "size-lf":
          if (byte !== LF) return this.#fail(at);
          this.#digits = 0;
          this.#step = this.#left === 0 ? "trailer" : "data";
          break;
        case "data-cr":
          if (byte !== CR) return this.#fail(at);
          this.#step = "data-lf";
          break;
        case "data-lf":
          if (byte !== LF) return this.#fail(at);
          this.#step = "size";
          break;
        case "trailer":
          if (++this.#trailerBytes > trailerBytesMax) return this.#fail(at);
          if (byte === CR) this.#step = "trailer-lf";
          else if ((BYTE_CLASS[byte]! & VALUE) === 0) return this.#fail(at);
          else this.#trailerLine += String.fromCharCode(byte);
          break;
        case "trailer-lf":
          if (byte !== LF) return this.#fail(at);
          if (this.#trailerLine === "") {
            this.done = true;
            return at;
          }
          if (!isTrailer(this.#trailerLine)) return this.#fail(at);
          this.#trailerLine = "";
          this.#step = "trailer";
          break;
      }
    }
    return at;
  }
}

function isTrailer(line: string): boolean {
  cursor.begin(line + "\r\n", 0);
  if (!cursor.advance()) return false;
  // A machine that merges trailers into headers would take a client's word for the edge's.
  if (cursor.name !== null && (cursor.name.startsWith("fly-") || cursor.name.startsWith("x-forwarded-"))) {
    return false;
  }
  return !FORBIDDEN_TRAILERS.has(line.slice(0, cursor.nameEnd).toLowerCase().replaceAll("_", "-"));
}

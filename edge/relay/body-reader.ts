/**
 * Finds where a message's body ends (RFC 9112 section 6 and 7). Bytes pass through as they came; this only counts them,
 * and for a chunked body checks each framing byte: no spaces around sizes, no bare line ends, bounded size lines and
 * trailers, no framing fields in trailers. Pieces of any size give the same answer.
 *
 * Chunk extensions and trailers pass on, within those bounds: cutting them out would mean a copy of each body, and a
 * machine may have asked for them. Extensions keep to their grammar without its optional spaces and escapes, because
 * readers differ in where a quote ends and in whether a line can end within one.
 */
import { BACKSLASH, BYTE_CLASS, CR, DQUOTE, EQUALS, HEX, LF, SEMICOLON, TOKEN, VALUE } from "./byte-class.ts";
import { FieldCursor } from "./field-cursor.ts";
import type { Limits } from "./limits.ts";
import { CHUNKED, UNTIL_CLOSE } from "./response-head.ts";

/** Leading zeros included. */
const SIZE_DIGITS_MAX = 12;
/** A reader that keeps sizes in 32 bits would see a smaller chunk, and a request in what is left of it. */
const CHUNK_BYTES_MAX = 0x7fff_ffff;
/**
 * Framing, routing, hop-by-hop, authentication and how content is read: RFC 9110 section 6.5.1 has no trailers for them,
 * and a machine that merges trailers into headers would believe them after the edge had decided without them.
 */
const FORBIDDEN_TRAILERS = new Set([
  "content-length",
  "transfer-encoding",
  "host",
  "connection",
  "proxy-connection",
  "keep-alive",
  "upgrade",
  "te",
  "trailer",
  "expect",
  "forwarded",
  "proxy",
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "content-encoding",
  "content-type",
  "content-range",
]);

/** In the order of the wire. `name`, `value` and `quoted` are parts of an extension; a trailing 1 asks for a first byte. */
type Step =
  | "size"
  | "name1"
  | "name"
  | "value1"
  | "value"
  | "quoted"
  | "unquoted"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer"
  | "trailer-lf";

const cursor = new FieldCursor();

/** Receives a span of payload: bytes without the chunks' framing. */
export type PayloadSink = (bytes: Buffer, from: number, to: number) => void;
/** Receives a trailer field that may pass: `name:value` without its line end. */
export type TrailerSink = (line: string) => void;

export class BodyReader {
  readonly #limits: Limits;
  #mode: "length" | "chunked" | "until-close" = "length";
  #left = 0;
  #step: Step = "size";
  #digits = 0;
  #lineBytes = 0;
  /** Made for the first trailer, which few bodies have. */
  #trailer: Buffer | null = null;
  #trailerLineBytes = 0;
  #trailerBytes = 0;
  done = true;
  invalid = false;
  /** The body is larger than `bodyBytesMax`. */
  tooLarge = false;
  /** Payload bytes so far. */
  payloadBytes = 0;
  /** Above it the body is `tooLarge`; the edge's limit until somebody sets another. */
  bytesMax = 0;
  /** Both are forgotten by `begin`. */
  onPayload: PayloadSink | null = null;
  onTrailer: TrailerSink | null = null;

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
    this.bytesMax = this.#limits.bodyBytesMax;
    this.#step = "size";
    this.#digits =
      this.#lineBytes =
      this.#trailerBytes =
      this.#trailerLineBytes =
        0;
    this.onPayload = null;
    this.onTrailer = null;
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
    const over = this.payloadBytes - this.bytesMax;
    if (over > 0) this.tooLarge = this.invalid = true;
    this.onPayload?.(bytes, from, over > 0 ? Math.max(from, to - over) : to);
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
            if (this.#left > CHUNK_BYTES_MAX) return this.#fail(at);
          } else if (this.#digits > 0 && byte === SEMICOLON) {
            this.#step = "name1";
            this.#lineBytes = this.#digits + 1;
          } else if (this.#digits > 0 && byte === CR) this.#step = "size-lf";
          else return this.#fail(at);
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
          else (this.#trailer ??= Buffer.allocUnsafeSlow(trailerBytesMax))[this.#trailerLineBytes++] = byte;
          break;
        case "trailer-lf":
          if (byte !== LF) return this.#fail(at);
          if (this.#trailerLineBytes === 0) {
            this.#trailer = null;
            this.done = true;
            return at;
          }
          if (!this.#passTrailer()) return this.#fail(at);
          this.#step = "trailer";
          break;
        default:
          if (++this.#lineBytes > chunkLineBytesMax || !this.#extension(byte)) return this.#fail(at);
          break;
      }
    }
    return at;
  }

  #passTrailer(): boolean {
    const line = this.#trailer!.toString("latin1", 0, this.#trailerLineBytes);
    this.#trailerLineBytes = 0;
    if (!isTrailer(line)) return false;
    this.onTrailer?.(line);
    return true;
  }

  /** One byte of `*( ";" chunk-ext-name [ "=" chunk-ext-val ] )` (RFC 9112 section 7.1.1). @returns false: not valid */
  #extension(byte: number): boolean {
    const token = (BYTE_CLASS[byte]! & TOKEN) !== 0;
    switch (this.#step) {
      case "name1":
        this.#step = "name";
        return token;
      case "value1":
        this.#step = byte === DQUOTE ? "quoted" : "value";
        return token || byte === DQUOTE;
      case "quoted":
        if (byte === DQUOTE) this.#step = "unquoted";
        return (BYTE_CLASS[byte]! & VALUE) !== 0 && byte !== BACKSLASH;
    }
    if (byte === CR) this.#step = "size-lf";
    else if (byte === SEMICOLON) this.#step = "name1";
    else if (byte === EQUALS && this.#step === "name") this.#step = "value1";
    else return token && this.#step !== "unquoted";
    return true;
  }
}

/** @param line `name:value` without its line end */
export function isTrailer(line: string): boolean {
  cursor.begin(line + "\r\n", 0);
  if (!cursor.advance()) return false;
  if (cursor.name !== null && (cursor.name.startsWith("fly-") || cursor.name.startsWith("x-forwarded-"))) {
    return false;
  }
  return !FORBIDDEN_TRAILERS.has(line.slice(0, cursor.nameEnd).toLowerCase().replaceAll("_", "-"));
}

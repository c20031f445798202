/**
 * Cuts a connection's bytes into frames (RFC 9113 section 4.1). A frame's header is judged before its payload is kept, so that
 * nothing waits in memory for a frame that will be refused; a DATA frame's payload is never put together but passed on in
 * the pieces that came.
 */
import {
  DATA,
  END_STREAM,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  FRAME_SIZE_ERROR,
  HEADERS,
  PADDED,
  PROTOCOL_ERROR,
} from "./protocol.ts";

/** All but `dataPiece` return 0, or the error that ends the connection. */
export interface FrameEvents {
  /** Before any of the payload. */
  frameBegins(type: number, flags: number, streamId: number, length: number): number;
  /** Any frame but DATA, whole; `bytes` may be used during the call alone. HEADERS come without their padding. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): number;
  /**
   * A piece of a DATA frame, without padding.
   * @param ends the stream ends with it; told again by `dataEnds`
   */
  dataPiece(streamId: number, bytes: Buffer, from: number, to: number, ends: boolean): void;
  /** @param overhead bytes of padding, which count for flow control; -1: more than the frame has */
  dataEnds(flags: number, streamId: number, overhead: number): number;
}

export class FrameReader {
  readonly #events: FrameEvents;
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Of the payload that has not come yet. */
  #left = 0;
  #inFrame = false;
  #held: Buffer | null = null;
  #heldBytes = 0;
  /** Of a DATA frame: -1 before its pad length has been read. */
  #padding = 0;
  #overhead = 0;
  /** Set by whoever closes the connection: nothing more is read. */
  stopped = false;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** @returns 0, or the error that ends the connection */
  feed(bytes: Buffer, from: number): number {
    const length = bytes.length;
    let at = from;
    let error = 0;
    while (error === 0 && !this.stopped) {
      if (!this.#inFrame) {
        if (at >= length) return 0;
        let header = bytes, start = at;
        if (this.#headerBytes > 0 || length - at < FRAME_HEADER_BYTES) {
          const take = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, length - at);
          bytes.copy(this.#header, this.#headerBytes, at, at + take);
          this.#headerBytes += take;
          at += take;
          if (this.#headerBytes < FRAME_HEADER_BYTES) return 0;
          header = this.#header;
          start = 0;
          this.#headerBytes = 0;
        } else at += FRAME_HEADER_BYTES;
        error = this.#begin(header, start);
        if (error !== 0) return error;
      }
      if (this.#type === DATA) {
        at = this.#data(bytes, at);
        if (this.#left > 0) return 0;
        this.#inFrame = false;
        error = this.#events.dataEnds(this.#flags, this.#streamId, this.#overhead);
        continue;
      }
      if (this.#held === null && length - at >= this.#left) {
        this.#inFrame = false;
        const end = at + this.#left;
        error = this.#whole(bytes, at, end);
        at = end;
        continue;
      }
      this.#held ??= Buffer.allocUnsafe(this.#left);
      const take = Math.min(this.#held.length - this.#heldBytes, length - at);
      bytes.copy(this.#held, this.#heldBytes, at, at + take);
      at += take;
      this.#heldBytes += take;
      if (this.#heldBytes < this.#held.length) return 0;
      const payload = this.#held;
      this.#held = null;
      this.#heldBytes = 0;
      this.#inFrame = false;
      error = this.#whole(payload, 0, payload.length);
    }
    return error;
  }

  #begin(header: Buffer, at: number): number {
    const length = header[at]! << 16 | header[at + 1]! << 8 | header[at + 2]!;
    if (length > FRAME_BYTES_MAX) return FRAME_SIZE_ERROR;
    this.#type = header[at + 3]!;
    this.#flags = header[at + 4]!;
    this.#streamId = header.readUInt32BE(at + 5) & 0x7fff_ffff;
    this.#left = length;
    this.#overhead = 0;
    this.#padding = 0;
    if (this.#type === DATA && (this.#flags & PADDED) !== 0) {
      if (length === 0) return FRAME_SIZE_ERROR;
      this.#padding = -1;
    }
    this.#inFrame = true;
    return this.#events.frameBegins(this.#type, this.#flags, this.#streamId, length);
  }

  #data(bytes: Buffer, from: number): number {
    let at = from;
    if (this.#padding === -1 && at < bytes.length) {
      this.#padding = bytes[at++]!;
      this.#left--;
      this.#overhead = this.#padding + 1;
      // Longer than the frame: told with its end, as the peer's mistake.
      if (this.#padding > this.#left) this.#overhead = -1;
    }
    const to = Math.min(bytes.length, at + this.#left);
    const payloadTo = Math.min(to, at + this.#left - Math.max(0, this.#padding));
    this.#left -= to - at;
    if (payloadTo > at && this.#overhead !== -1) {
      const ends = this.#left === 0 && (this.#flags & END_STREAM) !== 0;
      this.#events.dataPiece(this.#streamId, bytes, at, payloadTo, ends);
    }
    return to;
  }

  #whole(bytes: Buffer, from: number, to: number): number {
    if (this.#type === HEADERS && (this.#flags & PADDED) !== 0) {
      const padding = from < to ? bytes[from]! : 0;
      if (from + 1 + padding > to) return PROTOCOL_ERROR;
      from++;
      to -= padding;
    }
    return this.#events.frame(this.#type, this.#flags, this.#streamId, bytes, from, to);
  }
}

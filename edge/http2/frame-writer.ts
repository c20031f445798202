/**
 * Frames on their way out. They gather in one buffer and leave with one write at the end of the event loop's turn: what many
 * machines answered at about the same time shares a system call. While the socket does not take what it was given, only
 * frames that flow control does not hold back (heads, answers to pings) come here.
 */
import { setImmediate } from "node:timers";
import type { Outbox } from "../relay/outbox.ts";
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  HEADERS,
} from "./protocol.ts";

const BUFFER_BYTES = 65_536;
/** Buffers of connections that have nothing to say; beyond this many they are left to the collector. */
const SPARE_MAX = 32;
const spare: Buffer[] = [];

export class FrameWriter {
  readonly #outbox: Outbox;
  #buffer: Buffer | null = null;
  #at = 0;
  #scheduled = false;
  /** Where the last frame begins, if it is DATA and still here. */
  #lastData = -1;
  #lastDataStream = 0;
  readonly #onTurnEnd: () => void;

  /** @param flushed called after each write to the socket */
  constructor(outbox: Outbox, flushed: () => void) {
    this.#outbox = outbox;
    this.#onTurnEnd = () => {
      this.#scheduled = false;
      this.flush();
      flushed();
    };
  }

  /** Bytes that wait, here or for the socket. */
  get bytes(): number {
    return this.#at + this.#outbox.bytes;
  }

  /** A frame with a payload of at most FRAME_BYTES_MAX. */
  frame(type: number, flags: number, streamId: number, payload: Buffer | null): void {
    const length = payload === null ? 0 : payload.length;
    const at = this.#begin(type, flags, streamId, length);
    if (payload !== null) payload.copy(this.#buffer!, at);
  }

  /** Frames with a payload of one number: RST_STREAM, WINDOW_UPDATE. */
  number(type: number, streamId: number, value: number): void {
    const at = this.#begin(type, 0, streamId, 4);
    this.#buffer!.writeUInt32BE(value, at);
  }

  data(streamId: number, bytes: Buffer, from: number, to: number): void {
    const at = this.#begin(DATA, 0, streamId, to - from);
    bytes.copy(this.#buffer!, at, from, to);
    this.#lastData = at - FRAME_HEADER_BYTES;
    this.#lastDataStream = streamId;
  }

  /** A header block, in as many frames as it takes. */
  headers(streamId: number, block: Buffer, endStream: boolean): void {
    let type = HEADERS;
    let flags = endStream ? END_STREAM : 0;
    let at = 0;
    do {
      const to = Math.min(block.length, at + FRAME_BYTES_MAX);
      if (to === block.length) flags |= END_HEADERS;
      const start = this.#begin(type, flags, streamId, to - at);
      block.copy(this.#buffer!, start, at, to);
      at = to;
      type = CONTINUATION;
      flags = 0;
    } while (at < block.length);
  }

  /** Ends the stream with its last DATA frame, if that has not left yet, or else with an empty one. */
  endStream(streamId: number): void {
    if (this.#lastData !== -1 && this.#lastDataStream === streamId) {
      this.#buffer![this.#lastData + 4] = END_STREAM;
    } else this.#begin(DATA, END_STREAM, streamId, 0);
  }

  #begin(type: number, flags: number, streamId: number, length: number): number {
    if (this.#at + FRAME_HEADER_BYTES + length > BUFFER_BYTES) this.flush();
    const buffer = this.#buffer ??= spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const at = this.#at;
    buffer[at] = length >> 16;
    buffer[at + 1] = length >> 8 & 0xff;
    buffer[at + 2] = length & 0xff;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    buffer.writeUInt32BE(streamId, at + 5);
    this.#at = at + FRAME_HEADER_BYTES + length;
    this.#lastData = -1;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#onTurnEnd);
    }
    return at + FRAME_HEADER_BYTES;
  }

  flush(): void {
    const buffer = this.#buffer;
    if (buffer === null || this.#at === 0) return;
    const taken = this.#outbox.write(buffer.subarray(0, this.#at));
    this.#buffer = null;
    this.#at = 0;
    this.#lastData = -1;
    // What the socket has not taken yet still lies in there.
    if (taken && spare.length < SPARE_MAX) spare.push(buffer);
  }
}

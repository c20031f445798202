/** A header block that comes in several frames (RFC 9113 section 4.3): HEADERS, then CONTINUATION until the last. */
import { FRAME_BYTES_MAX } from "./protocol.ts";

/** Frames that one block may be cut into, beyond the first. */
export const CONTINUATIONS_MAX = 16;

export class HeaderBlock {
  readonly #bytesMax: number;
  #frames = 0;
  /** The stream whose block is not complete; 0 where none is. */
  streamId = 0;
  /** Of its HEADERS frame. */
  flags = 0;
  bytes: Buffer = Buffer.alloc(0);
  length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  begin(streamId: number, flags: number): void {
    this.streamId = streamId;
    this.flags = flags;
    this.#frames = this.length = 0;
  }

  /** A CONTINUATION frame of this size begins. @returns false where it is too much */
  mayGrow(bytes: number): boolean {
    return ++this.#frames <= CONTINUATIONS_MAX && this.length + bytes <= this.#bytesMax;
  }

  add(bytes: Buffer, from: number, to: number): void {
    const needed = this.length + to - from;
    if (this.bytes.length < needed) {
      const larger = Buffer.allocUnsafe(Math.max(needed, FRAME_BYTES_MAX * 2));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    bytes.copy(this.bytes, this.length, from, to);
    this.length = needed;
  }

  /** It has been read; its memory goes. */
  end(): void {
    this.streamId = this.length = 0;
    this.bytes = Buffer.alloc(0);
  }
}

/**
 * What a guest sends on its HTTP/2 connection, looked at frame by frame before the HTTP/2 stack sees it (RFC 9113, section 4
 * and 6). A guest is a stranger: a frame on a stream that the worker never opened made Bun's stack throw where nobody can
 * catch it, which would end the agent and the watch over every other machine; and frames that carry nothing cost as much as
 * those that do. So the former end the connection, and the latter are read no faster than a quiet guest would send them.
 */
import { Duplex } from "node:stream";
import { Bucket } from "./bucket.ts";

const HEAD_BYTES = 9;
/** SETTINGS_MAX_FRAME_SIZE, which the worker leaves as it is. */
const FRAME_BYTES_MAX = 16_384;
const TYPE = { data: 0, headers: 1, pushPromise: 5, continuation: 9 } as const;
/** A DATA frame with less than this is a small one: what is typed and echoed, or nothing at all. */
const SMALL_BYTES = 64;
/** Frames other than large DATA, a second, and at once. A busy terminal sends hundreds. */
const FRAMES_PER_S = 5_000;
const FRAMES_BURST = 20_000;

/** The rules, without I/O. */
export class FrameGuard {
  #opened = 0;
  #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  #payloadLeft = 0;
  readonly #bucket: Bucket;

  constructor(nowMs: number) {
    this.#bucket = new Bucket(FRAMES_PER_S, FRAMES_BURST, nowMs);
  }

  /** The worker opens one more stream: 1, 3, 5 … */
  open(): void {
    this.#opened++;
  }

  /** For how many milliseconds nothing more is to be read. @throws Error on what no guest may send */
  take(chunk: Uint8Array, nowMs: number): number {
    let frames = 0;
    for (let at = 0; at < chunk.length;) {
      if (this.#payloadLeft > 0) {
        const skipped = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= skipped;
        at += skipped;
        continue;
      }
      const taken = Math.min(HEAD_BYTES - this.#headBytes, chunk.length - at);
      this.#head.set(chunk.subarray(at, at + taken), this.#headBytes);
      this.#headBytes += taken;
      at += taken;
      if (this.#headBytes === HEAD_BYTES) frames += this.#begin();
    }
    return this.#bucket.take(frames, nowMs);
  }

  /** A frame's head is whole. Answers what it costs. */
  #begin(): number {
    const length = this.#head.readUIntBE(0, 3);
    const type = this.#head[3]!;
    const id = this.#head.readUInt32BE(5) & 0x7fffffff;
    this.#headBytes = 0;
    this.#payloadLeft = length;
    if (length > FRAME_BYTES_MAX) throw new Error(`a frame of ${length} bytes`);
    if (type > TYPE.continuation) throw new Error(`a frame of type ${type}, which there is not`);
    if (type === TYPE.pushPromise) throw new Error("a push, which is off");
    const isOurs = id % 2 === 1 && id <= 2 * this.#opened - 1;
    if (id !== 0 && !isOurs) throw new Error(`a frame on stream ${id}, which was never opened`);
    return type === TYPE.data && length >= SMALL_BYTES ? 0 : 1;
  }
}

/** The stream with the guard in front of what comes in. */
export class GuardedStream extends Duplex {
  readonly guard = new FrameGuard(performance.now());
  readonly #inner: Duplex;
  #waits = false;
  #isFull = false;
  #timer: Timer | null = null;

  constructor(inner: Duplex) {
    super({ allowHalfOpen: false });
    this.#inner = inner;
    inner.on("data", (chunk: Buffer) => this.#take(chunk));
    inner.on("end", () => this.push(null));
    inner.on("error", (error) => this.destroy(error));
    inner.on("close", () => this.destroy());
  }

  #take(chunk: Buffer): void {
    if (this.destroyed) return;
    let waitMs: number;
    try {
      waitMs = this.guard.take(chunk, performance.now());
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    if (!this.push(chunk)) this.#isFull = true;
    if (waitMs > 0) {
      this.#waits = true;
      this.#timer = setTimeout(() => {
        this.#waits = false;
        this.#goOn();
      }, waitMs);
    }
    if (this.#isFull || this.#waits) this.#inner.pause();
  }

  #goOn(): void {
    if (!this.#isFull && !this.#waits) this.#inner.resume();
  }

  override _read(): void {
    this.#isFull = false;
    this.#goOn();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#inner.write(chunk, encoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#inner.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#inner.destroy();
    done(error);
  }
}

/**
 * Frames to and from the worker on one stream (control/contract/exec-frames.ts). Output waits here until the worker has
 * credit for it, so that it never waits inside of HTTP/2, where it would hold up every other stream.
 */
import {
  creditOf,
  encodeFrame,
  EXEC_CONTENT_TYPE,
  EXEC_PIECE_BYTES,
  EXEC_WINDOW_BYTES,
  type Frame,
  FrameKind,
  FrameReader,
} from "../../control/contract/exec-frames.ts";
import { collectNowAndThen } from "../system/collect.ts";
import { BootError } from "../system/error.ts";
import { objectOf, send, type Stream, wireOf } from "./answer.ts";

export type Output = typeof FrameKind.stdout | typeof FrameKind.stderr;

export class Channel {
  readonly stream: Stream;
  readonly #frames: AsyncGenerator<Frame, void, void>;
  #credit = EXEC_WINDOW_BYTES;
  #wake = Promise.withResolvers<void>();

  constructor(stream: Stream) {
    this.stream = stream;
    this.#frames = framesOf(stream);
    stream.once("close", () => this.#ring());
  }

  /** The first frame's JSON. */
  async opening(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#frames.next();
    if (done !== true && value.kind === FrameKind.open) return objectOf(value.payload);
    throw new BootError("Cannot answer: the first frame does not say what is wanted");
  }

  accept(fields: Record<string, string> = {}): void {
    this.stream.respond({ ":status": 200, "content-type": EXEC_CONTENT_TYPE, ...fields });
  }

  /** What else the worker sends, until it ends its side; credit is taken on the way. */
  async *heard(): AsyncGenerator<Frame, void, void> {
    for await (const frame of this.#frames) {
      if (frame.kind !== FrameKind.credit) yield frame;
      else {
        this.#credit += creditOf(frame.payload);
        this.#ring();
      }
    }
  }

  /** Takes the credit of one that sends nothing else. */
  async listen(): Promise<void> {
    try {
      for await (const _ of this.heard());
    } catch {
      this.stream.destroy();
    }
  }

  /** False where the worker has gone. */
  async output(kind: Output, bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length; at += EXEC_PIECE_BYTES) {
      const piece = bytes.subarray(at, at + EXEC_PIECE_BYTES);
      while (this.#credit < piece.length) {
        if (this.stream.destroyed) return false;
        await this.#wake.promise;
      }
      this.#credit -= piece.length;
      if (!await send(this.stream, encodeFrame(kind, piece))) return false;
      collectNowAndThen(piece.length);
    }
    return !this.stream.destroyed;
  }

  /** The last frame. */
  async end(exit: unknown): Promise<void> {
    if (await send(this.stream, encodeFrame(FrameKind.exit, JSON.stringify(exit)))) this.stream.end();
  }

  async fail(error: unknown): Promise<void> {
    if (await send(this.stream, encodeFrame(FrameKind.failure, JSON.stringify(wireOf(error))))) {
      this.stream.end();
    }
  }

  #ring(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

async function* framesOf(stream: Stream): AsyncGenerator<Frame, void, void> {
  const reader = new FrameReader("caller");
  for await (const chunk of stream) yield* reader.push(chunk);
}

/**
 * Frames to and from a guest on one HTTP/2 stream (contract/exec-frames.ts). What comes is read at once and kept until it is
 * asked for, at most a window of it, because a stream that is not read would hold up the others of the same connection; the
 * guest gets credit for what was taken. What a guest sends is checked before anybody else sees it.
 */
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { GodwitError } from "../../contract/errors.ts";
import {
  creditOf,
  encodeCredit,
  encodeFrame,
  EXEC_CREDIT_BYTES_MIN,
  EXEC_FRAME_BYTES_MAX,
  EXEC_PIECE_BYTES,
  EXEC_WINDOW_BYTES,
  type Frame,
  FrameKind,
  FrameReader,
} from "../../contract/exec-frames.ts";
import { ExecExit } from "../../contract/guest-api.ts";
import {
  type Call,
  type CallOptions,
  type GuestSession,
  parseJson,
  protocolError,
  refusalOf,
  stalledAt,
} from "./guest-session.ts";

export type GuestFrame =
  | { readonly kind: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly kind: "exit"; readonly exit: ExecExit };

export class GuestChannel {
  readonly headers: IncomingHttpHeaders;
  readonly #session: GuestSession;
  readonly #stream: ClientHttp2Stream;
  readonly #path: string;
  readonly #queue: GuestFrame[] = [];
  #queuedBytes = 0;
  #owedCredit = 0;
  #stdinCredit = EXEC_WINDOW_BYTES;
  #end: { readonly error: GodwitError | null } | null = null;
  #wake = Promise.withResolvers<void>();

  private constructor(
    session: GuestSession,
    stream: ClientHttp2Stream,
    path: string,
    headers: IncomingHttpHeaders,
  ) {
    this.#session = session;
    this.#stream = stream;
    this.#path = path;
    this.headers = headers;
    stream.once("close", () => this.#ring());
    void this.#read();
  }

  /** @throws GodwitError where the guest refuses, or of the session */
  static async open(
    session: GuestSession,
    path: string,
    opening: unknown,
    options: CallOptions,
  ): Promise<GuestChannel> {
    options.signal?.throwIfAborted();
    const call: Call = { method: "POST", path, streams: true };
    const frame = openingFrame(opening);
    const stream = session.open(call);
    try {
      stream.write(frame);
      const { headers } = await session.acceptedHeadOf(call, stream, options);
      return new GuestChannel(session, stream, path, headers);
    } catch (error) {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      throw error;
    }
  }

  /** Sends one frame of the caller; stdin waits until the command has taken what came before. False: it has ended. */
  async send(kind: FrameKind, payload: Uint8Array | string = ""): Promise<boolean> {
    if (kind !== FrameKind.stdin || typeof payload === "string") {
      return this.#write(encodeFrame(kind, payload));
    }
    for (let at = 0; at < payload.length; at += EXEC_PIECE_BYTES) {
      const piece = payload.subarray(at, at + EXEC_PIECE_BYTES);
      while (this.#stdinCredit < piece.length && this.#isOpen) await this.#wake.promise;
      this.#stdinCredit -= piece.length;
      if (!this.#write(encodeFrame(kind, piece))) return false;
    }
    return this.#isOpen;
  }

  /**
   * Output as it comes, `exit` last.
   * @param stallMs How long the guest may owe something; null: for ever
   * @throws GodwitError
   */
  async *frames(stallMs: number | null = null): AsyncGenerator<GuestFrame, void, void> {
    for (;;) {
      const frame = this.#queue.shift() ?? null;
      if (frame === null) {
        if (this.#end === null) await this.#more(stallMs);
        else if (this.#end.error !== null) throw this.#end.error;
        else return;
        continue;
      }
      yield frame;
      if (frame.kind === "exit") return;
      this.#queuedBytes -= frame.bytes.length;
      this.#giveCredit(frame.bytes.length);
    }
  }

  /** The command is killed where it still runs. */
  close(): void {
    this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }

  get #isOpen(): boolean {
    return this.#end === null && !this.#stream.destroyed && !this.#stream.writableEnded;
  }

  /** Nothing waits for room here: payloads have their window, all else is small. */
  #write(frame: Uint8Array): boolean {
    if (this.#isOpen) this.#stream.write(frame);
    return this.#isOpen;
  }

  #giveCredit(bytes: number): void {
    this.#owedCredit += bytes;
    if (this.#owedCredit < EXEC_CREDIT_BYTES_MIN) return;
    this.#write(encodeCredit(FrameKind.credit, this.#owedCredit));
    this.#owedCredit = 0;
  }

  async #read(): Promise<void> {
    const reader = new FrameReader("guest");
    let error: GodwitError | null = null;
    try {
      for await (const chunk of this.#session.bodyOf(this.#stream, this.#path, Infinity)) {
        for (const frame of readFrames(reader, chunk)) this.#take(frame);
        this.#ring();
      }
      if (this.#queue.at(-1)?.kind !== "exit") error = this.#session.failure ?? endless();
    } catch (thrown) {
      error = thrown instanceof GodwitError ? thrown : endless();
      this.close();
    }
    this.#end ??= { error };
    this.#ring();
  }

  #take({ kind, payload }: Frame): void {
    if (kind === FrameKind.stdout || kind === FrameKind.stderr) {
      this.#queuedBytes += payload.length;
      if (this.#queuedBytes > EXEC_WINDOW_BYTES) {
        throw protocolError("it sent more output than it had credit for");
      }
      // A copy, because a small frame may hold on to a large chunk.
      if (payload.length > 0) {
        this.#queue.push({
          kind: kind === FrameKind.stdout ? "stdout" : "stderr",
          bytes: Uint8Array.from(payload),
        });
      }
    } else if (kind === FrameKind.stdinCredit) {
      this.#stdinCredit += readCredit(payload);
      if (this.#stdinCredit > EXEC_WINDOW_BYTES) throw protocolError("it took more stdin than it was sent");
    } else if (kind === FrameKind.exit) {
      this.#queue.push({ kind: "exit", exit: parseJson(ExecExit, Buffer.from(payload).toString()) });
    } else {
      throw refusalOf(`{"error":${Buffer.from(payload).toString()}}`) ??
        protocolError("it ended a command with a failure that is none");
    }
  }

  async #more(stallMs: number | null): Promise<void> {
    const { promise } = this.#wake;
    if (stallMs === null) return await promise;
    const timer = setTimeout(() => {
      this.#end ??= { error: stalledAt(this.#path, stallMs) };
      this.close();
      this.#ring();
    }, stallMs);
    await promise;
    clearTimeout(timer);
  }

  #ring(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }
}

function openingFrame(opening: unknown): Uint8Array {
  const json = Buffer.from(JSON.stringify(opening));
  if (json.length <= EXEC_FRAME_BYTES_MAX) return encodeFrame(FrameKind.open, json);
  throw new GodwitError(
    "guest.exec_too_large",
    `Cannot run a command: its words and environment take ${json.length} bytes, ${EXEC_FRAME_BYTES_MAX} are allowed`,
    { fault: "client", hint: "pass what is long by stdin or a file" },
  );
}

function readFrames(reader: FrameReader, chunk: Uint8Array): Frame[] {
  try {
    return reader.push(chunk);
  } catch (error) {
    throw protocolError((error as Error).message, error);
  }
}

function readCredit(payload: Uint8Array): number {
  try {
    return creditOf(payload);
  } catch (error) {
    throw protocolError((error as Error).message, error);
  }
}

function endless(): GodwitError {
  return protocolError("it ended a command without its exit code");
}

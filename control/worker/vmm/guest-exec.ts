/** A command inside a guest: the frames of contract/exec-frames.ts, what the guest sends checked before anybody else sees it. */
import http2, { type ClientHttp2Stream } from "node:http2";
import { assert, GodwitError } from "../../contract/errors.ts";
import { encodeFrame, EXEC_FRAME_BYTES_MAX, FrameKind, FrameReader } from "../../contract/exec-frames.ts";
import { ExecExit, type ExecRequest } from "../../contract/guest-api.ts";
import {
  type Call,
  CALL_TIMEOUT_MS,
  type CallOptions,
  type GuestSession,
  parseJson,
  protocolError,
  refusalOf,
} from "./guest-session.ts";

const CALL: Call = { method: "POST", path: "/v1/exec", streams: true };

export type GuestFrame =
  | { readonly kind: "stdout" | "stderr"; readonly bytes: Uint8Array }
  | { readonly kind: "exit"; readonly exit: ExecExit };

export class GuestExec {
  readonly #session: GuestSession;
  readonly #stream: ClientHttp2Stream;

  private constructor(session: GuestSession, stream: ClientHttp2Stream) {
    this.#session = session;
    this.#stream = stream;
  }

  /** @throws GodwitError `guest.exec_failed`, `guest.too_many_execs`, `guest.not_running` or of the session */
  static async open(session: GuestSession, request: ExecRequest, options: CallOptions): Promise<GuestExec> {
    options.signal?.throwIfAborted();
    const opening = openingOf(request);
    const stream = session.open(CALL);
    try {
      stream.write(opening);
      await session.acceptedHeadOf(CALL, stream, options);
      return new GuestExec(session, stream);
    } catch (error) {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      throw error;
    }
  }

  /** Sends one frame of the caller; resolves when there is room for more. False where the command has ended. */
  async send(kind: FrameKind, payload: Uint8Array | string = ""): Promise<boolean> {
    const stream = this.#stream;
    if (stream.destroyed || stream.writableEnded) return false;
    if (!stream.write(encodeFrame(kind, payload))) {
      const { promise, resolve } = Promise.withResolvers<void>();
      stream.once("drain", resolve);
      stream.once("close", resolve);
      if (!stream.destroyed) await promise;
      stream.off("drain", resolve);
      stream.off("close", resolve);
    }
    return !stream.destroyed;
  }

  /** No more frames of the caller. */
  end(): void {
    if (!this.#stream.destroyed) this.#stream.end();
  }

  /** Output as it comes, `exit` last. @throws GodwitError */
  async *frames(): AsyncGenerator<GuestFrame, void, void> {
    const reader = new FrameReader("guest");
    const limits = { bytesMax: Infinity, stallMs: null };
    for await (const chunk of this.#session.bodyOf(this.#stream, CALL.path, limits)) {
      for (const { kind, payload } of readFrames(reader, chunk)) {
        if (kind === FrameKind.stdout) yield { kind: "stdout", bytes: payload };
        else if (kind === FrameKind.stderr) yield { kind: "stderr", bytes: payload };
        else if (kind === FrameKind.exit) {
          return yield { kind: "exit", exit: parseJson(ExecExit, Buffer.from(payload).toString()) };
        } else {
          throw refusalOf(`{"error":${Buffer.from(payload).toString()}}`) ??
            protocolError("it ended a command with a failure that is none");
        }
      }
    }
    throw this.#session.failure ?? protocolError("it ended a command without its exit code");
  }

  /** The command is killed where it still runs. */
  close(): void {
    this.#stream.close(http2.constants.NGHTTP2_CANCEL);
  }
}

function openingOf(request: ExecRequest): Uint8Array {
  const json = Buffer.from(JSON.stringify(request));
  if (json.length <= EXEC_FRAME_BYTES_MAX) return encodeFrame(FrameKind.open, json);
  throw new GodwitError(
    "guest.exec_too_large",
    `Cannot run a command: its words and environment take ${json.length} bytes, ${EXEC_FRAME_BYTES_MAX} are allowed`,
    { fault: "client", hint: "pass what is long by stdin or a file" },
  );
}

function readFrames(reader: FrameReader, chunk: Uint8Array) {
  try {
    return reader.push(chunk);
  } catch (error) {
    throw protocolError((error as Error).message, error);
  }
}

export interface Ran {
  readonly exit: ExecExit;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** A command from its start to its end, what it wrote kept up to `output_bytes_max`. */
export async function runToEnd(
  session: GuestSession,
  request: ExecRequest,
  stdin: Uint8Array,
  options: CallOptions,
): Promise<Ran> {
  const { timeout_ms: timeoutMs, output_bytes_max: bytesMax } = request;
  assert(timeoutMs !== null && bytesMax !== null, "a command that is run to its end has limits");
  const exec = await GuestExec.open(session, request, options);
  try {
    const fed = feed(exec, stdin);
    const ran = await session.within(
      CALL,
      options,
      timeoutMs + CALL_TIMEOUT_MS,
      () => collect(exec, bytesMax),
    );
    exec.close();
    await fed;
    return ran;
  } finally {
    exec.close();
  }
}

async function feed(exec: GuestExec, stdin: Uint8Array): Promise<void> {
  for (let at = 0; at < stdin.length; at += EXEC_FRAME_BYTES_MAX) {
    if (!await exec.send(FrameKind.stdin, stdin.subarray(at, at + EXEC_FRAME_BYTES_MAX))) return;
  }
  exec.end();
}

async function collect(exec: GuestExec, bytesMax: number): Promise<Ran> {
  const outputs = { stdout: new Output(bytesMax), stderr: new Output(bytesMax) };
  for await (const frame of exec.frames()) {
    if (frame.kind !== "exit") outputs[frame.kind].add(frame.bytes);
    else return { exit: frame.exit, stdout: outputs.stdout.bytes(), stderr: outputs.stderr.bytes() };
  }
  throw protocolError("it ended a command without its exit code");
}

/** A guest keeps to the bound by itself; one that does not is broken. */
class Output {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(readonly bytesMax: number) {}

  add(bytes: Uint8Array): void {
    this.#length += bytes.length;
    if (this.#length > this.bytesMax) throw protocolError(`a command wrote more than ${this.bytesMax} bytes`);
    // A copy, because a small frame may hold on to a large chunk.
    this.#chunks.push(Uint8Array.from(bytes));
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }
}

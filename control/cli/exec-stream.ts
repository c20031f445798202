/**
 * A command in a machine, from this side (contract/exec-frames.ts): stdin and what else the user does go out as frames,
 * output comes back as fast as it is taken.
 */
import { GodwitError, messageOf, WireError } from "../contract/errors.ts";
import {
  encodeFrame,
  EXEC_FRAME_BYTES_MAX,
  EXEC_PING_INTERVAL_MS,
  FrameKind,
  FrameReader,
} from "../contract/exec-frames.ts";
import { ExecExit, ExecRequest, type TerminalSize } from "../contract/guest-api.ts";
import type { ApiClient } from "./api-client.ts";

/** Frames that wait to be sent; stdin is not read on meanwhile. */
const QUEUE_FRAMES_MAX = 16;

export interface ExecIo {
  /** null: none, and /dev/null for the command. */
  readonly stdin: AsyncIterable<Uint8Array> | null;
  /** Resolves when there is room for more. */
  readonly onOutput: (stream: "stdout" | "stderr", bytes: Uint8Array) => Promise<void>;
  /** Gets what the user may do while the command runs. */
  readonly onRunning?: (control: ExecControl) => void;
}

export interface ExecControl {
  resize(size: TerminalSize): void;
  signal(name: string): void;
}

type Wish = Partial<ExecRequest>;

/** @throws GodwitError as the API refuses it; `cli.unreachable` where the connection breaks off */
export async function execInMachine(
  api: ApiClient,
  machineId: string,
  wish: Wish,
  io: ExecIo,
): Promise<ExecExit> {
  const request = ExecRequest.parse({ ...wish, stdin: io.stdin !== null });
  const outgoing = new Outgoing();
  outgoing.push(FrameKind.open, JSON.stringify(request));
  const ended = new AbortController();
  const ping = setInterval(() => outgoing.push(FrameKind.ping), EXEC_PING_INTERVAL_MS);
  try {
    const path = `/v1/machines/${machineId}/exec/stream`;
    const answer = await api.stream("POST", path, outgoing.stream, ended.signal);
    io.onRunning?.({
      resize: (size) => outgoing.push(FrameKind.resize, JSON.stringify(size)),
      signal: (name) => outgoing.push(FrameKind.signal, name),
    });
    if (io.stdin !== null) void pump(io.stdin, outgoing);
    return await read(answer.body, io, machineId);
  } finally {
    clearInterval(ping);
    outgoing.close();
    // Whatever is still under way, the command included, ends with it.
    ended.abort();
  }
}

async function read(
  body: ReadableStream<Uint8Array> | null,
  io: ExecIo,
  machineId: string,
): Promise<ExecExit> {
  const reader = new FrameReader("guest");
  try {
    for await (const chunk of body ?? []) {
      for (const { kind, payload } of reader.push(chunk)) {
        if (kind === FrameKind.stdout) await io.onOutput("stdout", payload);
        else if (kind === FrameKind.stderr) await io.onOutput("stderr", payload);
        else if (kind === FrameKind.exit) return ExecExit.parse(JSON.parse(Buffer.from(payload).toString()));
        else if (kind === FrameKind.failure) {
          throw GodwitError.fromWire(WireError.parse(JSON.parse(Buffer.from(payload).toString())));
        }
      }
    }
  } catch (error) {
    throw error instanceof GodwitError ? error : brokeOff(machineId, error);
  }
  throw brokeOff(machineId, null);
}

async function pump(stdin: AsyncIterable<Uint8Array>, outgoing: Outgoing): Promise<void> {
  try {
    for await (const chunk of stdin) {
      for (let at = 0; at < chunk.length; at += EXEC_FRAME_BYTES_MAX) {
        await outgoing.room();
        if (!outgoing.push(FrameKind.stdin, chunk.subarray(at, at + EXEC_FRAME_BYTES_MAX))) return;
      }
    }
  } catch {
    // What cannot be read any more has ended.
  }
  outgoing.push(FrameKind.stdinEnd);
}

/** The request's body. */
class Outgoing {
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #open = true;
  #wake = Promise.withResolvers<void>();

  constructor() {
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        this.#wake.resolve();
        this.#wake = Promise.withResolvers();
      },
      cancel: () => this.close(),
    }, { highWaterMark: QUEUE_FRAMES_MAX });
  }

  /** False once it is closed. */
  push(kind: FrameKind, payload: Uint8Array | string = ""): boolean {
    if (this.#open) this.#controller.enqueue(encodeFrame(kind, payload));
    return this.#open;
  }

  async room(): Promise<void> {
    while (this.#open && (this.#controller.desiredSize ?? 0) <= 0) await this.#wake.promise;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#wake.resolve();
    try {
      this.#controller.close();
    } catch {
      // Cancelled by the other side, which is closed as well.
    }
  }
}

function brokeOff(machineId: string, cause: unknown): GodwitError {
  const why = cause === null ? "" : `: ${messageOf(cause)}`;
  return new GodwitError("cli.unreachable", `The connection to machine ${machineId} broke off${why}`, {
    fault: "us",
    retryable: true,
    hint: `the command was ended with it; see \`godwit machine status ${machineId}\``,
    cause,
  });
}

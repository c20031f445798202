/**
 * One conversation with a guest: HTTP/2 with prior knowledge over one byte stream. The peer is not trusted: every body is
 * bounded, every call has a limit of time, and whatever it says, the worst outcome is a GodwitError:
 * `guest.protocol_error` (it spoke nonsense), `guest.timeout` (it did not answer), `guest.gone` (the stream ended), or one
 * of its own, whose code begins with `guest.`.
 */
import http2, { type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import type { Duplex } from "node:stream";
import type { z } from "zod";
import { GodwitError, messageOf, WireError } from "../../contract/errors.ts";
import { GUEST_BODY_BYTES_MAX } from "../../contract/guest-api.ts";
import { ERROR_FIELD } from "../../contract/guest-limits.ts";
import { GuardedStream } from "./frame-guard.ts";

export const CALL_TIMEOUT_MS = 5_000;
/** A body that goes on as long as it takes must not stand still for longer. */
export const STALL_MS_MAX = 60_000;

export interface CallOptions {
  /** Cancels the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** @default CALL_TIMEOUT_MS, plus `waitMs` where the call waits in the guest; null for no limit. */
  readonly timeoutMs?: number | null;
  /** How long a body that streams may stand still. @default STALL_MS_MAX */
  readonly stallMs?: number;
}

export interface Call {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly body?: unknown;
  /** The body is written by whoever opened the call. */
  readonly streams?: boolean;
}

export interface Head {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

export class GuestSession {
  /** Resolves when the stream has ended or the peer broke the protocol; never rejects. */
  readonly closed: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #stream: GuardedStream;
  #failure: GodwitError | null = null;

  constructor(inner: Duplex) {
    const stream = this.#stream = new GuardedStream(inner);
    this.#session = http2.connect("http://guest", {
      createConnection: () => stream,
      settings: { enablePush: false },
    });
    this.closed = new Promise((resolve) => {
      const end = (failure: GodwitError) => {
        this.#failure ??= failure;
        resolve();
        this.close();
      };
      this.#session.on("error", (error) => end(failureOf(error)));
      this.#session.on("close", () => end(gone()));
      this.#session.on("goaway", () => end(gone()));
      stream.on("error", (error) => end(failureOf(error)));
      stream.on("close", () => end(gone()));
    });
  }

  /** How the conversation ended, null while it goes on. */
  get failure(): GodwitError | null {
    return this.#failure;
  }

  /** True once the connection has ended, whoever ended it. */
  get isOver(): boolean {
    return this.#failure !== null;
  }

  /** Ends the session and the stream under it. */
  close(): void {
    this.#failure ??= gone();
    // The stream first: a guest that is sent a last GOAWAY may answer it into the next connection.
    this.#stream.destroy();
    this.#session.destroy();
  }

  /** One call and its whole body, as text. */
  async call(call: Call, options: CallOptions, timeoutDefaultMs: number | null = CALL_TIMEOUT_MS) {
    options.signal?.throwIfAborted();
    const stream = this.open(call);
    try {
      return await this.within(call, options, timeoutDefaultMs, () => this.#read(stream, call.path));
    } finally {
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
  }

  /** Runs a part of a call within its limits. */
  async within<T>(
    call: Call,
    options: CallOptions,
    timeoutDefaultMs: number | null,
    work: () => Promise<T>,
  ): Promise<T> {
    options.signal?.throwIfAborted();
    const timeoutMs = options.timeoutMs === undefined ? timeoutDefaultMs : options.timeoutMs;
    const limit = Promise.withResolvers<never>();
    const timer = timeoutMs === null
      ? null
      : setTimeout(() => limit.reject(timedOut(call, timeoutMs)), timeoutMs);
    const abort = () => limit.reject(options.signal?.reason);
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([work(), limit.promise]);
    } finally {
      if (timer !== null) clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
    }
  }

  open(call: Call): ClientHttp2Stream {
    if (this.#failure !== null) throw this.#failure;
    try {
      this.#stream.guard.open();
      const stream = this.#session.request(
        { ":method": call.method, ":path": call.path, "content-type": "application/json" },
        { endStream: call.body === undefined && call.streams !== true },
      );
      stream.on("error", () => {}); // Whoever reads the stream meets the error there; unheard, it would end the agent.
      if (call.body !== undefined) stream.end(JSON.stringify(call.body));
      return stream;
    } catch (error) {
      throw gone(error);
    }
  }

  async #read(stream: ClientHttp2Stream, path: string): Promise<string> {
    const { status } = await this.headOf(stream, path);
    const body = await this.textOf(stream, path);
    if (status < 400) return body;
    throw refusalOf(body) ?? unexplained(path, status);
  }

  /** A body to its end, bounded by GUEST_BODY_BYTES_MAX. */
  async textOf(stream: ClientHttp2Stream, path: string): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.bodyOf(stream, path, GUEST_BODY_BYTES_MAX)) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  /** A body as it comes, bounded in bytes. */
  async *bodyOf(
    stream: ClientHttp2Stream,
    path: string,
    bytesMax: number,
  ): AsyncGenerator<Buffer, void, void> {
    let bytes = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > bytesMax) throw protocolError(`its answer to ${path} is longer than ${bytesMax} bytes`);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof GodwitError) throw error;
      // Bun may close a stream in the moment of its end and then calls that premature.
      if (!stream.readableEnded) throw this.#failure ?? protocolError(messageOf(error), error);
    }
  }

  /** Waits for the head of the answer. @throws GodwitError also where it is a refusal */
  async acceptedHeadOf(call: Call, stream: ClientHttp2Stream, options: CallOptions): Promise<Head> {
    return await this.within(call, options, CALL_TIMEOUT_MS, async () => {
      const head = await this.headOf(stream, call.path);
      if (head.status < 400) return head;
      throw refusalIn(head.headers) ?? refusalOf(await this.textOf(stream, call.path)) ??
        unexplained(call.path, head.status);
    });
  }

  /** Rejects when the stream or the session ends before an answer came. */
  headOf(stream: ClientHttp2Stream, path: string): Promise<Head> {
    return new Promise((resolve, reject) => {
      const failed = (error: unknown) =>
        reject(this.#failure ?? protocolError(`${path}: ${messageOf(error)}`, error));
      stream.once("response", (headers) => resolve({ status: Number(headers[":status"] ?? 0), headers }));
      stream.once("error", failed);
      stream.once("close", () => failed(new Error("the guest closed the exchange without an answer")));
      void this.closed.then(() => failed(new Error("the connection ended")));
    });
  }
}

function refusalIn(headers: IncomingHttpHeaders): GodwitError | null {
  try {
    return refusalOf(`{"error":${decodeURIComponent(String(headers[ERROR_FIELD] ?? ""))}}`);
  } catch {
    return null; // No percent-encoding: the body may tell.
  }
}

/** The guest's own error. A code of another noun would speak for somebody else. */
export function refusalOf(body: string): GodwitError | null {
  try {
    const wire = WireError.parse((JSON.parse(body) as { error?: unknown }).error);
    return wire.code.startsWith("guest.") ? GodwitError.fromWire(wire) : null;
  } catch {
    return null; // Not an error body of ours: the caller reports the status instead.
  }
}

export function parseJson<T extends z.ZodType>(schema: T, body: string): z.infer<T> {
  try {
    return schema.parse(JSON.parse(body));
  } catch (error) {
    throw protocolError(messageOf(error).slice(0, 512), error);
  }
}

/** A broken connection comes with the system call that met it; all else is the peer's doing. */
function failureOf(error: Error): GodwitError {
  return "syscall" in error ? gone(error) : protocolError(error.message, error);
}

/** A machine that has run since before its worker was renewed has the vm-init of that time. */
function unexplained(path: string, status: number): GodwitError {
  if (status !== 404) return protocolError(`it answered ${path} with status ${status}`);
  return new GodwitError("guest.no_such_path", `The guest knows no ${path.split("?")[0]}`, {
    fault: "us",
    hint: "it is older than its worker: stop and start the machine",
  });
}

export function protocolError(what: string, cause?: unknown): GodwitError {
  return new GodwitError("guest.protocol_error", `The guest broke the control protocol: ${what}`, {
    fault: "us",
    hint: "the machine's console log tells what runs inside",
    cause,
  });
}

function gone(cause?: unknown): GodwitError {
  return new GodwitError("guest.gone", "The guest's control connection has ended", {
    fault: "us",
    retryable: true,
    cause,
  });
}

export function timedOut(call: Call, timeoutMs: number): GodwitError {
  return new GodwitError(
    "guest.timeout",
    `The guest did not answer ${call.method} ${call.path} in ${timeoutMs} ms`,
    {
      fault: "us",
      retryable: call.method === "GET",
    },
  );
}

export function stalledAt(path: string, stallMs: number): GodwitError {
  return new GodwitError("guest.timeout", `The guest sent nothing more of ${path} for ${stallMs} ms`, {
    fault: "us",
    retryable: true,
  });
}

/**
 * The worker's side of contract/guest-api.ts: HTTP/2 with prior knowledge over one byte stream. The peer is a guest and
 * not trusted: every body is bounded and parsed, every call has a limit of time, and whatever it says, the worst outcome
 * is a GodwitError: `guest.protocol_error` (it spoke nonsense), `guest.timeout` (it did not answer), `guest.gone` (the
 * stream ended).
 */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import type { z } from "zod";
import { GodwitError, messageOf, WireError } from "../../contract/errors.ts";
import {
  GUEST_BODY_BYTES_MAX,
  GuestExit,
  GuestListeners,
  GuestLogLine,
  GuestStatus,
  LOG_LINE_BYTES_MAX,
  RestartRequest,
  ResumedAnswer,
  ResumedRequest,
  SignalRequest,
  StopRequest,
} from "../../contract/guest-api.ts";
import { splitLines } from "./split-lines.ts";

export const CALL_TIMEOUT_MS = 5_000;
/** One NDJSON line: a log line where each byte may have become a `\uXXXX` escape, and its frame. */
const LOG_JSON_BYTES_MAX = LOG_LINE_BYTES_MAX * 6 + 512;

export interface CallOptions {
  /** Cancels the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** @default CALL_TIMEOUT_MS, plus `waitMs` where the call waits in the guest; null for no limit. */
  readonly timeoutMs?: number | null;
}

interface Call {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: unknown;
}

export class GuestClient {
  /** Resolves when the stream has ended or the peer broke the protocol; never rejects. */
  readonly closed: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #stream: Duplex;
  #failure: GodwitError | null = null;

  constructor(stream: Duplex) {
    this.#stream = stream;
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
      stream.on("error", (error) => end(gone(error)));
      stream.on("close", () => end(gone()));
    });
  }

  /** With `waitMs` the guest answers once its phase is `running`, `failed` or `exited`, or that time is over. */
  async status(options: CallOptions & { readonly waitMs?: number } = {}): Promise<GuestStatus> {
    const wait = options.waitMs ?? 0;
    const path = wait === 0 ? "/v1/status" : `/v1/status?wait_ms=${wait}`;
    return parse(GuestStatus, await this.#call({ method: "GET", path }, options, CALL_TIMEOUT_MS + wait));
  }

  /** How run `run` (or a later one) of the user's process ended; pending until it has. @default no limit of time */
  async exit(options: CallOptions & { readonly run?: number } = {}): Promise<GuestExit> {
    const path = (options.run ?? 0) === 0 ? "/v1/exit" : `/v1/exit?run=${options.run}`;
    return parse(GuestExit, await this.#call({ method: "GET", path }, options, null));
  }

  /** Resolves when the guest has accepted to run the user's process again, not when it runs. */
  async restart(request: RestartRequest, options: CallOptions = {}): Promise<void> {
    await this.#call({ method: "POST", path: "/v1/restart", body: RestartRequest.parse(request) }, options);
  }

  /** Tells the guest that its memory was taken up again: it steps its clock and renews its random pool. */
  async resumed(request: ResumedRequest, options: CallOptions = {}): Promise<ResumedAnswer> {
    const body = ResumedRequest.parse(request);
    return parse(ResumedAnswer, await this.#call({ method: "POST", path: "/v1/resumed", body }, options));
  }

  /** Resolves when the guest has accepted to stop, not when it has. */
  async stop(request: z.infer<typeof StopRequest>, options: CallOptions = {}): Promise<void> {
    await this.#call({ method: "POST", path: "/v1/stop", body: StopRequest.parse(request) }, options);
  }

  async signal(name: string, options: CallOptions = {}): Promise<void> {
    const body = SignalRequest.parse({ signal: name });
    await this.#call({ method: "POST", path: "/v1/signals", body }, options);
  }

  async listeners(options: CallOptions = {}): Promise<GuestListeners> {
    return parse(GuestListeners, await this.#call({ method: "GET", path: "/v1/listeners" }, options));
  }

  /** Tells the guest that its exit is kept durably, so that it powers off at once, perhaps before it answers. */
  async acknowledgeExit(options: CallOptions = {}): Promise<void> {
    try {
      await this.#call({ method: "POST", path: "/v1/exit-ack" }, options);
    } catch (error) {
      if (!(error instanceof GodwitError) || error.code !== "guest.gone") throw error;
    }
  }

  /** Lines from sequence number `from`, then live ones until the stream ends or `signal` aborts. */
  async *logs(
    options: { readonly from?: number; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<GuestLogLine, void, void> {
    if (options.signal?.aborted) return;
    const path = `/v1/logs?from=${options.from ?? 0}`;
    const stream = this.#open({ method: "GET", path });
    const abort = () => stream.close(http2.constants.NGHTTP2_CANCEL);
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      await this.#statusOf(stream, path);
      for await (const line of splitLines(stream, LOG_JSON_BYTES_MAX)) {
        if (line !== "") yield parse(GuestLogLine, line);
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      // An end of the whole stream is how logs end when the VM does; only nonsense is worth an error here.
      if (this.#failure?.code === "guest.gone") return;
      throw error instanceof GodwitError ? error : this.#failure ?? protocolError(messageOf(error), error);
    } finally {
      options.signal?.removeEventListener("abort", abort);
      abort();
    }
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
  async #call(call: Call, options: CallOptions, timeoutDefaultMs: number | null = CALL_TIMEOUT_MS) {
    options.signal?.throwIfAborted();
    const stream = this.#open(call);
    const timeoutMs = options.timeoutMs === undefined ? timeoutDefaultMs : options.timeoutMs;
    const limit = Promise.withResolvers<never>();
    const timer = timeoutMs === null
      ? null
      : setTimeout(() => limit.reject(timedOut(call, timeoutMs)), timeoutMs);
    const abort = () => limit.reject(options.signal?.reason);
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([this.#read(stream, call.path), limit.promise]);
    } finally {
      if (timer !== null) clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
  }

  #open(call: Call): ClientHttp2Stream {
    if (this.#failure !== null) throw this.#failure;
    try {
      const stream = this.#session.request(
        { ":method": call.method, ":path": call.path, "content-type": "application/json" },
        { endStream: call.body === undefined },
      );
      stream.on("error", () => {}); // Whoever reads the stream meets the error there; unheard, it would end the agent.
      if (call.body !== undefined) stream.end(JSON.stringify(call.body));
      return stream;
    } catch (error) {
      throw gone(error);
    }
  }

  async #read(stream: ClientHttp2Stream, path: string): Promise<string> {
    const status = await this.#statusOf(stream, path);
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > GUEST_BODY_BYTES_MAX) {
          throw protocolError(`its answer to ${path} is longer than ${GUEST_BODY_BYTES_MAX} bytes`);
        }
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof GodwitError ? error : this.#failure ?? protocolError(messageOf(error), error);
    }
    const body = Buffer.concat(chunks).toString("utf8");
    if (status < 400) return body;
    const wire = tryParse(body, WireError);
    throw wire === null
      ? protocolError(`it answered ${path} with status ${status}`)
      : GodwitError.fromWire(wire);
  }

  /** The response's status. Rejects when the stream or the session ends before one came. */
  #statusOf(stream: ClientHttp2Stream, path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const failed = (error: unknown) =>
        reject(this.#failure ?? protocolError(`${path}: ${messageOf(error)}`, error));
      stream.once("response", (headers) => resolve(Number(headers[":status"] ?? 0)));
      stream.once("error", failed);
      stream.once("close", () => failed(new Error("the guest closed the exchange without an answer")));
      void this.closed.then(() => failed(new Error("the connection ended")));
    });
  }
}

function tryParse<T extends z.ZodType>(body: string, schema: T): z.infer<T> | null {
  try {
    return schema.parse((JSON.parse(body) as { error?: unknown }).error);
  } catch {
    return null; // Not an error body of ours: the caller reports the status instead.
  }
}

function parse<T extends z.ZodType>(schema: T, body: string): z.infer<T> {
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

function protocolError(what: string, cause?: unknown): GodwitError {
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

function timedOut(call: Call, timeoutMs: number): GodwitError {
  return new GodwitError(
    "guest.timeout",
    `The guest did not answer ${call.method} ${call.path} in ${timeoutMs} ms`,
    {
      fault: "us",
      retryable: call.method === "GET",
    },
  );
}

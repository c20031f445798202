/**
 * The worker's side of contract/guest-api.ts: one method a call, what the guest answers parsed with the contract's schemas.
 * guest-session.ts holds the bounds and the errors.
 */
import http2 from "node:http2";
import type { Duplex } from "node:stream";
import type { z } from "zod";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import {
  type ExecRequest,
  FreezeAnswer,
  FreezeRequest,
  GuestExit,
  GuestListeners,
  GuestLogLine,
  GuestMetrics,
  GuestProcesses,
  GuestStatus,
  GuestSysinfo,
  LOG_LINE_BYTES_MAX,
  RestartRequest,
  ResumedAnswer,
  ResumedRequest,
  SignalRequest,
  StopRequest,
  ThawAnswer,
} from "../../contract/guest-api.ts";
import { GuestChannel } from "./guest-channel.ts";
import { EXEC_PATH, type Ran, runToEnd } from "./guest-exec.ts";
import { GuestFiles } from "./guest-files.ts";
import {
  CALL_TIMEOUT_MS,
  type CallOptions,
  GuestSession,
  parseJson,
  protocolError,
} from "./guest-session.ts";
import { splitLines } from "./split-lines.ts";

/** One NDJSON line: a log line where each byte may have become a `\uXXXX` escape, and its frame. */
const LOG_JSON_BYTES_MAX = LOG_LINE_BYTES_MAX * 6 + 512;
/** Writing out what is dirty comes before the answer. */
const FREEZE_TIMEOUT_MS = 30_000;

export class GuestClient {
  readonly files: GuestFiles;
  readonly #session: GuestSession;

  constructor(stream: Duplex) {
    this.#session = new GuestSession(stream);
    this.files = new GuestFiles(this.#session);
  }

  /** Resolves when the stream has ended or the peer broke the protocol; never rejects. */
  get closed(): Promise<void> {
    return this.#session.closed;
  }

  /** With `waitMs` the guest answers once its phase is `running`, `failed` or `exited`, or that time is over. */
  async status(options: CallOptions & { readonly waitMs?: number } = {}): Promise<GuestStatus> {
    const wait = options.waitMs ?? 0;
    const path = wait === 0 ? "/v1/status" : `/v1/status?wait_ms=${wait}`;
    return parseJson(
      GuestStatus,
      await this.#session.call({ method: "GET", path }, options, CALL_TIMEOUT_MS + wait),
    );
  }

  /** How run `run` (or a later one) of the user's process ended; pending until it has. @default no limit of time */
  async exit(options: CallOptions & { readonly run?: number } = {}): Promise<GuestExit> {
    const path = (options.run ?? 0) === 0 ? "/v1/exit" : `/v1/exit?run=${options.run}`;
    return parseJson(GuestExit, await this.#session.call({ method: "GET", path }, options, null));
  }

  /** Resolves when the guest has accepted to run the user's process again, not when it runs. */
  async restart(request: RestartRequest, options: CallOptions = {}): Promise<void> {
    await this.#session.call(
      { method: "POST", path: "/v1/restart", body: RestartRequest.parse(request) },
      options,
    );
  }

  /** Tells the guest that its memory was taken up again: it steps its clock and renews its random pool. */
  async resumed(request: ResumedRequest, options: CallOptions = {}): Promise<ResumedAnswer> {
    const body = ResumedRequest.parse(request);
    return parseJson(
      ResumedAnswer,
      await this.#session.call({ method: "POST", path: "/v1/resumed", body }, options),
    );
  }

  /** Resolves when the guest has accepted to stop, not when it has. */
  async stop(request: z.infer<typeof StopRequest>, options: CallOptions = {}): Promise<void> {
    await this.#session.call({ method: "POST", path: "/v1/stop", body: StopRequest.parse(request) }, options);
  }

  async signal(name: string, options: CallOptions = {}): Promise<void> {
    const body = SignalRequest.parse({ signal: name });
    await this.#session.call({ method: "POST", path: "/v1/signals", body }, options);
  }

  async listeners(options: CallOptions = {}): Promise<GuestListeners> {
    return parseJson(
      GuestListeners,
      await this.#session.call({ method: "GET", path: "/v1/listeners" }, options),
    );
  }

  /** Tells the guest that its exit is kept durably, so that it powers off at once, perhaps before it answers. */
  async acknowledgeExit(options: CallOptions = {}): Promise<void> {
    try {
      await this.#session.call({ method: "POST", path: "/v1/exit-ack" }, options);
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
    const stream = this.#session.open({ method: "GET", path });
    const abort = () => stream.close(http2.constants.NGHTTP2_CANCEL);
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      await this.#session.headOf(stream, path);
      // Without a bound of bytes: it goes on for as long as the machine runs, and each line has its own.
      for await (const line of splitLines(this.#session.bodyOf(stream, path, Infinity), LOG_JSON_BYTES_MAX)) {
        if (line !== "") yield parseJson(GuestLogLine, line);
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      // An end of the whole stream is how logs end when the VM does; only nonsense is worth an error here.
      if (this.#session.failure?.code === "guest.gone") return;
      throw error instanceof GodwitError
        ? error
        : this.#session.failure ?? protocolError(messageOf(error), error);
    } finally {
      options.signal?.removeEventListener("abort", abort);
      abort();
    }
  }

  async sysinfo(options: CallOptions = {}): Promise<GuestSysinfo> {
    return parseJson(GuestSysinfo, await this.#session.call({ method: "GET", path: "/v1/sysinfo" }, options));
  }

  async processes(options: CallOptions = {}): Promise<GuestProcesses> {
    return parseJson(GuestProcesses, await this.#session.call({ method: "GET", path: "/v1/ps" }, options));
  }

  async metrics(options: CallOptions = {}): Promise<GuestMetrics> {
    return parseJson(GuestMetrics, await this.#session.call({ method: "GET", path: "/v1/metrics" }, options));
  }

  /** Starts a command; resolves once it runs. Whoever asked for it reads its frames and closes it. */
  openExec(request: ExecRequest, options: CallOptions = {}): Promise<GuestChannel> {
    return GuestChannel.open(this.#session, EXEC_PATH, request, options);
  }

  /** Runs a command to its end; `request` must hold a time limit and a bound of its output. */
  exec(request: ExecRequest, stdin: Uint8Array, options: CallOptions = {}): Promise<Ran> {
    return runToEnd(this.#session, request, stdin, options);
  }

  /** Resolves when no write of the machine begins any more, until `thaw` or the timeout. */
  async freeze(request: z.infer<typeof FreezeRequest>, options: CallOptions = {}): Promise<number> {
    const body = FreezeRequest.parse(request);
    const answer = await this.#session.call(
      { method: "POST", path: "/v1/freeze", body },
      options,
      FREEZE_TIMEOUT_MS,
    );
    return parseJson(FreezeAnswer, answer).frozen;
  }

  async thaw(options: CallOptions = {}): Promise<ThawAnswer> {
    return parseJson(ThawAnswer, await this.#session.call({ method: "POST", path: "/v1/thaw" }, options));
  }

  /** True once the connection has ended, whoever ended it. */
  get isOver(): boolean {
    return this.#session.isOver;
  }

  /** Ends the session and the stream under it. */
  close(): void {
    this.#session.close();
  }
}

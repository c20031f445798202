/**
 * Speaks the worker API (control/contract/worker-api.ts) to one worker. Each call has a time limit; what the worker
 * answers is parsed; a worker that cannot be reached is `place.host_unreachable`, which is always safe to try again
 * because every call of that API is idempotent.
 */
import { z } from "zod";
import { GodwitError, messageOf, WireError } from "../contract/errors.ts";
import { LogLine } from "../contract/events.ts";
import { GuestListeners, GuestProcesses, GuestSysinfo } from "../contract/guest-api.ts";
import { type Guest, type MachineSpec, MachineView } from "../contract/machine.ts";
import {
  ExecAnswer,
  type ExecBody,
  HostView,
  ImageAnswer,
  ImageProgress,
  MachineList,
  OfferAnswer,
  type StopBody,
  WORKER_BODY_BYTES_MAX,
} from "../contract/worker-api.ts";

export const CALL_TIMEOUT_MS = 10_000;
/** Queries that people wait for give up on a worker sooner. */
export const QUERY_TIMEOUT_MS = 3_000;
/** A pull of a big image over a slow line. */
export const IMAGE_TIMEOUT_MS = 15 * 60_000;

const Logs = z.object({ lines: z.array(LogLine) });

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export class WorkerClient {
  readonly hostId: string;
  readonly #url: string;

  /** @param url As the worker registered it: `unix:/run/…/worker.sock` or `https://…`. */
  constructor(hostId: string, url: string) {
    this.hostId = hostId;
    this.#url = url;
  }

  host(options?: CallOptions): Promise<HostView> {
    return this.#call("GET", "/v1/host", null, HostView, options);
  }

  offer(
    request: { machine_id: string; guest: Guest; image_digest: string },
    options?: CallOptions,
  ): Promise<OfferAnswer> {
    return this.#call("POST", "/v1/offers", request, OfferAnswer, options);
  }

  async withdrawOffer(id: string, options?: CallOptions): Promise<void> {
    await this.#call("DELETE", `/v1/offers/${id}`, null, z.unknown(), options);
  }

  image(ref: string, options?: CallOptions): Promise<ImageAnswer> {
    return this.#call("POST", "/v1/images", { ref }, ImageAnswer, {
      timeoutMs: IMAGE_TIMEOUT_MS,
      ...options,
    });
  }

  /** How far the pull of this reference is, in words; null where none is under way. */
  async imageProgress(ref: string, options?: CallOptions): Promise<string | null> {
    const path = `/v1/images/progress?${new URLSearchParams({ ref })}`;
    return (await this.#call("GET", path, null, ImageProgress, { timeoutMs: QUERY_TIMEOUT_MS, ...options }))
      .message;
  }

  create(spec: MachineSpec, options?: CallOptions): Promise<MachineView> {
    return this.#call("PUT", `/v1/machines/${spec.id}`, spec, MachineView, options);
  }

  machine(id: string, options?: CallOptions): Promise<MachineView> {
    return this.#call("GET", `/v1/machines/${id}`, null, MachineView, options);
  }

  async machinesOfApp(appId: string, options?: CallOptions): Promise<MachineView[]> {
    return (await this.#call("GET", `/v1/machines?app_id=${appId}`, null, MachineList, options)).machines;
  }

  act(
    id: string,
    action: "start" | "suspend" | "cordon" | "uncordon",
    options?: CallOptions,
  ): Promise<MachineView> {
    return this.#call("POST", `/v1/machines/${id}/${action}`, {}, MachineView, options);
  }

  stop(id: string, body: StopBody, options?: CallOptions): Promise<MachineView> {
    return this.#call("POST", `/v1/machines/${id}/stop`, body, MachineView, options);
  }

  destroy(id: string, options?: CallOptions): Promise<MachineView> {
    return this.#call("DELETE", `/v1/machines/${id}`, null, MachineView, options);
  }

  /** Rejects with `machine.wait_timeout` where no state is reached in time. */
  wait(id: string, states: readonly string[], timeoutS: number, options?: CallOptions): Promise<MachineView> {
    const query = new URLSearchParams([...states.map((s) => ["state", s]), ["timeout_s", String(timeoutS)]]);
    return this.#call("GET", `/v1/machines/${id}/wait?${query}`, null, MachineView, {
      timeoutMs: timeoutS * 1_000 + CALL_TIMEOUT_MS,
      ...options,
    });
  }

  async listeners(id: string, options?: CallOptions): Promise<GuestListeners["listeners"]> {
    return (await this.#call("GET", `/v1/machines/${id}/listeners`, null, GuestListeners, options)).listeners;
  }

  processes(id: string, options?: CallOptions): Promise<GuestProcesses> {
    return this.#call("GET", `/v1/machines/${id}/ps`, null, GuestProcesses, options);
  }

  sysinfo(id: string, options?: CallOptions): Promise<GuestSysinfo> {
    return this.#call("GET", `/v1/machines/${id}/sysinfo`, null, GuestSysinfo, options);
  }

  /** Runs a command in the machine; not to be repeated blindly, whatever the error says of the host. */
  exec(id: string, body: ExecBody, options?: CallOptions): Promise<ExecAnswer> {
    return this.#call("POST", `/v1/machines/${id}/exec`, body, ExecAnswer, {
      timeoutMs: body.timeout_ms + CALL_TIMEOUT_MS,
      ...options,
    });
  }

  /**
   * A call whose bodies are streams that go on for as long as they like; only the head of the answer has a limit, null for
   * none where the worker answers at the body's end. @throws GodwitError where the worker refuses
   */
  async stream(
    method: "GET" | "POST" | "PUT",
    path: string,
    body: ReadableStream<Uint8Array> | null,
    { signal, headMs }: { readonly signal: AbortSignal; readonly headMs: number | null },
  ): Promise<Response> {
    const patience = new AbortController();
    const timer = headMs === null ? null : setTimeout(() => patience.abort(), headMs);
    const ends = AbortSignal.any([signal, patience.signal]);
    let response: Response;
    try {
      response = await this.#fetch(path, {
        method,
        signal: ends,
        // Bun ends a request in which nothing was received for five minutes, however much is sent.
        timeout: false,
        ...(body === null ? {} : { body, duplex: "half" }),
      });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const why = patience.signal.aborted ? `no answer within ${headMs! / 1_000} s` : messageOf(error);
      throw this.#unreachable(method, path, why, error);
    } finally {
      if (timer !== null) clearTimeout(timer);
    }
    if (response.ok) return response;
    throw this.#refusal(method, path, response.status, this.#parse(method, path, await response.text()));
  }

  async lastLogLines(id: string, tail: number, options?: CallOptions): Promise<LogLine[]> {
    return (await this.#call("GET", `/v1/machines/${id}/logs?tail=${tail}`, null, Logs, options)).lines;
  }

  async #call<T>(
    method: string,
    path: string,
    body: unknown,
    answer: z.ZodType<T>,
    options: CallOptions = {},
  ): Promise<T> {
    const { status, text } = await this.#exchange(method, path, body, options);
    if (status === 204) return answer.parse(undefined);
    const json = this.#parse(method, path, text);
    if (status < 400) {
      const parsed = answer.safeParse(json);
      if (parsed.success) return parsed.data;
      throw this.#nonsense(method, path, parsed.error.message);
    }
    throw this.#refusal(method, path, status, json);
  }

  #refusal(method: string, path: string, status: number, json: unknown): GodwitError {
    const wire = z.object({ error: WireError }).safeParse(json);
    if (wire.success) return GodwitError.fromWire(wire.data.error);
    return this.#nonsense(method, path, `status ${status} without an error`);
  }

  async #exchange(method: string, path: string, body: unknown, options: CallOptions) {
    const limit = AbortSignal.timeout(options.timeoutMs ?? CALL_TIMEOUT_MS);
    const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
    try {
      const response = await this.#fetch(path, {
        method,
        signal,
        ...(body === null
          ? {}
          : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
      const length = Number(response.headers.get("content-length") ?? 0);
      if (length > WORKER_BODY_BYTES_MAX) throw new Error(`its answer has ${length} bytes`);
      return { status: response.status, text: await response.text() };
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      const why = limit.aborted
        ? `no answer within ${(options.timeoutMs ?? CALL_TIMEOUT_MS) / 1_000} s`
        : messageOf(error);
      throw this.#unreachable(method, path, why, error);
    }
  }

  async #fetch(path: string, init: RequestInit & { duplex?: "half"; timeout?: false }): Promise<Response> {
    const unix = this.#url.startsWith("unix:") ? this.#url.slice("unix:".length) : null;
    return await fetch(`${unix === null ? this.#url : "http://worker"}${path}`, {
      ...init,
      keepalive: false,
      ...(unix === null ? {} : { unix }),
    });
  }

  #unreachable(method: string, path: string, why: string, cause: unknown): GodwitError {
    return new GodwitError(
      "place.host_unreachable",
      `Cannot reach the worker of host ${this.hostId} for ${method} ${path.split("?")[0]}: ${why}`,
      {
        fault: "us",
        retryable: true,
        hint: "Check that the worker on that host runs; its machines run on without it.",
        cause,
      },
    );
  }

  #parse(method: string, path: string, text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      throw this.#nonsense(method, path, `not JSON: ${text.slice(0, 100)}`);
    }
  }

  #nonsense(method: string, path: string, why: string): GodwitError {
    return new GodwitError(
      "place.worker_answer_invalid",
      `Cannot understand the worker of host ${this.hostId} (${method} ${path}): ${why.slice(0, 500)}`,
      { fault: "us", hint: "Check that control and worker are of versions that fit together." },
    );
  }
}

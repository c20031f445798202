/**
 * Firecracker's API: HTTP/1.1 over a unix socket that the jailed process made, and so may have made a link of. Not fetch():
 * that takes a path, follows links and bounds no answer. One connection, one request at a time.
 */
import type { Socket } from "node:net";
import type { z } from "zod";
import { GodwitError, messageOf } from "../../../contract/errors.ts";
import { tryConnect } from "../control-stream.ts";
import { ApiError, type ApiRequest, InstanceInfo, MachineSize } from "./api-types.ts";

const ANSWER_BYTES_MAX = 65_536;
const REQUEST_TIMEOUT_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Waiter {
  resolve(answer: Answer): void;
  reject(error: GodwitError): void;
}

export class FirecrackerApi {
  /** Resolves when the connection has ended: the process is gone, or about to be. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #waiter: Waiter | null = null;
  #received: Buffer = Buffer.alloc(0);

  /** Null where nobody listens at `path`. */
  static async connect(path: string): Promise<FirecrackerApi | null> {
    const socket = await tryConnect(path);
    return socket === null ? null : new FirecrackerApi(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#fail(error.message));
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.#fail("the connection ended");
        resolve();
      });
    });
  }

  /**
   * @throws GodwitError `vmm.api_refused` with Firecracker's own words; `vmm.api_failed` where it did not answer, so that
   * what was asked may have been done
   */
  async send(request: ApiRequest, timeoutMs = REQUEST_TIMEOUT_MS): Promise<void> {
    const what = `${request.method} ${request.path}`;
    const answer = await this.#exchange(what, JSON.stringify(request.body), timeoutMs);
    if (answer.status >= 300) throw refused(what, answer);
  }

  describe(timeoutMs = REQUEST_TIMEOUT_MS): Promise<InstanceInfo> {
    return this.#get("/", InstanceInfo, timeoutMs);
  }

  async memoryMib(): Promise<number> {
    return (await this.#get("/machine-config", MachineSize, REQUEST_TIMEOUT_MS)).mem_size_mib;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #get<T extends z.ZodType>(path: string, schema: T, timeoutMs: number): Promise<z.infer<T>> {
    const what = `GET ${path}`;
    const answer = await this.#exchange(what, null, timeoutMs);
    if (answer.status >= 300) throw refused(what, answer);
    try {
      return schema.parse(JSON.parse(answer.body));
    } catch (error) {
      throw failed(what, messageOf(error).slice(0, 512), error);
    }
  }

  async #exchange(what: string, body: string | null, timeoutMs: number): Promise<Answer> {
    if (this.#waiter !== null) throw failed(what, "another request is under way");
    if (this.#socket.destroyed) throw failed(what, "the connection ended");
    const answer = Promise.withResolvers<Answer>();
    this.#waiter = answer;
    const timer = setTimeout(() => {
      answer.reject(failed(what, `no answer in ${timeoutMs} ms`));
      // A late answer would be taken for that of the next request.
      this.close();
    }, timeoutMs);
    const length = body === null
      ? ""
      : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`;
    this.#socket.write(`${what} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n${body ?? ""}`);
    try {
      return await answer.promise;
    } catch (error) {
      throw error instanceof GodwitError && error.code === "vmm.api_failed"
        ? error
        : failed(what, messageOf(error), error);
    } finally {
      clearTimeout(timer);
      this.#waiter = null;
    }
  }

  #take(chunk: Buffer): void {
    if (this.#waiter === null) return this.#fail("it answered without being asked");
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#received.length > ANSWER_BYTES_MAX) {
      return this.#fail(`its answer is longer than ${ANSWER_BYTES_MAX} bytes`);
    }
    let parsed: { answer: Answer; bytes: number } | null;
    try {
      parsed = parseAnswer(this.#received);
    } catch (error) {
      return this.#fail(messageOf(error));
    }
    if (parsed === null) return;
    this.#received = this.#received.subarray(parsed.bytes);
    if (this.#received.length > 0) return this.#fail("it answered twice");
    this.#waiter.resolve(parsed.answer);
  }

  #fail(why: string): void {
    this.#waiter?.reject(failed("the request", why));
    this.#socket.destroy();
  }
}

/** Null while it is not whole. Firecracker gives every body a length, and none with 204. */
export function parseAnswer(bytes: Buffer): { answer: Answer; bytes: number } | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [line = "", ...fields] = bytes.toString("latin1", 0, end).split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1];
  if (status === undefined) throw new Error(`it answered ${JSON.stringify(line.slice(0, 80))}`);
  const length = fields.map((field) => /^content-length:\s*(\d{1,9})\s*$/i.exec(field)?.[1])
    .find((value) => value !== undefined) ?? "0";
  const from = end + 4;
  const to = from + Number(length);
  if (bytes.length < to) return null;
  return { answer: { status: Number(status), body: bytes.toString("utf8", from, to) }, bytes: to };
}

function refused(what: string, { status, body }: Answer): GodwitError {
  let said: string;
  try {
    said = ApiError.parse(JSON.parse(body)).fault_message;
  } catch {
    said = `status ${status}`;
  }
  return new GodwitError("vmm.api_refused", `Firecracker refused ${what}: ${said.slice(0, 1_024)}`, {
    fault: "us",
    hint: "its own words are in firecracker.log in the machine's folder",
  });
}

function failed(what: string, why: string, cause?: unknown): GodwitError {
  return new GodwitError("vmm.api_failed", `Firecracker did not answer ${what}: ${why}`, {
    fault: "us",
    retryable: true,
    cause,
  });
}

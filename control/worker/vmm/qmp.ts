/**
 * QMP over its unix socket (QEMU: docs/interop/qmp-spec). One JSON object a line each way: a greeting, then commands with
 * ids and their answers, and events in between. The socket serves one client at a time; the next waits for its greeting.
 */
import type { Socket } from "node:net";
import { z } from "zod";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import { tryConnect } from "./control-stream.ts";
import { LineSplitter } from "./split-lines.ts";

export const QMP_LINE_BYTES_MAX = 1_048_576;
const EXECUTE_TIMEOUT_MS = 10_000;
const COMMANDS_IN_FLIGHT_MAX = 64;

const Greeting = z.object({ QMP: z.object({ version: z.unknown() }) });
const QmpEvent = z.object({ event: z.string(), data: z.record(z.string(), z.unknown()).optional() });
const Answer = z.object({
  id: z.number(),
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
});

export type QmpEvent = z.infer<typeof QmpEvent>;

export interface QmpOptions {
  /** Called from the first event on, also while the connection is set up. */
  readonly onEvent: (event: QmpEvent) => void;
  /** For connection, greeting and qmp_capabilities together. */
  readonly timeoutMs: number;
}

interface Waiter {
  resolve(value: unknown): void;
  reject(error: GodwitError): void;
}

export class Qmp {
  /** Resolves when the connection has ended, whatever the reason. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #onEvent: QmpOptions["onEvent"];
  readonly #waiters = new Map<number, Waiter>();
  readonly #greeted = Promise.withResolvers<void>();
  #lastId = 0;

  /** Null where no QEMU listens at `path`. @throws GodwitError `vmm.qmp_failed` */
  static async connect(path: string, options: QmpOptions): Promise<Qmp | null> {
    const socket = await tryConnect(path);
    if (socket === null) return null;
    const qmp = new Qmp(socket, options.onEvent);
    const timer = setTimeout(
      () => socket.destroy(qmpError(`${path} sent no greeting in ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    try {
      await qmp.#greeted.promise;
      await qmp.execute("qmp_capabilities");
      return qmp;
    } catch (error) {
      qmp.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(socket: Socket, onEvent: QmpOptions["onEvent"]) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    this.#greeted.promise.catch(() => {}); // Heard by connect(); this keeps a failure before it asks from being unheard.
    const splitter = new LineSplitter(QMP_LINE_BYTES_MAX);
    socket.on("data", (chunk: Uint8Array) => {
      try {
        for (const line of splitter.push(chunk)) this.#take(line);
      } catch (error) {
        socket.destroy(qmpError(messageOf(error)));
      }
    });
    socket.on("error", (error) => this.#fail(error instanceof GodwitError ? error : qmpError(error.message)));
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.#fail(qmpError("the connection ended"));
        resolve();
      });
    });
  }

  /** The command's `return`. @throws GodwitError `vmm.qmp_failed` */
  async execute(command: string, parameters?: Record<string, unknown>): Promise<unknown> {
    if (this.#waiters.size >= COMMANDS_IN_FLIGHT_MAX) {
      throw qmpError(`${command}: too many commands in flight`);
    }
    if (this.#socket.destroyed) throw qmpError(`${command}: the connection ended`);
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#waiters.set(id, answer);
    const timer = setTimeout(
      () => answer.reject(qmpError(`${command}: no answer in ${EXECUTE_TIMEOUT_MS} ms`)),
      EXECUTE_TIMEOUT_MS,
    );
    this.#socket.write(
      `${JSON.stringify({ execute: command, ...(parameters && { arguments: parameters }), id })}\n`,
    );
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    if (line.trim() === "") return;
    const message: unknown = JSON.parse(line);
    const event = QmpEvent.safeParse(message);
    if (event.success) return this.#onEvent(event.data);
    const answer = Answer.safeParse(message);
    if (answer.success) {
      const waiter = this.#waiters.get(answer.data.id);
      if (answer.data.error === undefined) waiter?.resolve(answer.data.return);
      else waiter?.reject(qmpError(`${answer.data.error.class}: ${answer.data.error.desc}`));
      return;
    }
    if (Greeting.safeParse(message).success) return this.#greeted.resolve();
    throw new Error(`unknown message ${line.slice(0, 200)}`);
  }

  #fail(error: GodwitError): void {
    this.#greeted.reject(error);
    for (const waiter of this.#waiters.values()) waiter.reject(error);
  }
}

function qmpError(what: string): GodwitError {
  return new GodwitError("vmm.qmp_failed", `QMP: ${what}`, { fault: "us", retryable: true });
}

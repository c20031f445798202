/**
 * A connection whose first bytes decide who speaks on it: until then it waits here, within a time limit, and then the
 * socket and what has come go to whoever was chosen. What comes may come in any pieces; a decision asks for few bytes.
 */
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import type { Timed } from "./deadlines.ts";
import type { Client, RelayContext } from "./relay-context.ts";

/** `next` gets the socket, and `rest` where there is any. Null: more bytes are needed. */
export type Decision = { readonly next: SocketEvents; readonly rest: Buffer } | "refused" | null;

export abstract class FirstBytes implements SocketEvents, Timed, Client {
  deadlineMs = Infinity;
  readonly busy = false;
  protected readonly context: RelayContext;
  protected socket: Socket | null = null;
  readonly #waitMsMax: number;
  #chosen: SocketEvents | null = null;
  #held: Buffer | null = null;

  /** @param waitMsMax from the connection to the decision */
  constructor(context: RelayContext, waitMsMax: number) {
    this.context = context;
    this.#waitMsMax = waitMsMax;
  }

  /** @param bytes all that has come */
  protected abstract decide(bytes: Buffer): Decision;

  /** What came will not do, or did not come in time. */
  protected refuse(): void {
    this.close();
  }

  onOpen(socket: Socket): void {
    this.socket = socket;
    this.context.clients.add(this);
    this.context.deadlines.add(this);
    this.deadlineMs = this.context.nowMs() + this.#waitMsMax;
  }

  onData(bytes: Buffer): void {
    if (this.#chosen !== null) return this.#chosen.onData(bytes);
    const all = this.#held === null ? bytes : Buffer.concat([this.#held, bytes]);
    const decision = this.decide(all);
    if (decision === null) this.#held = all;
    else if (decision === "refused") this.refuse();
    else {
      const { next, rest } = decision;
      this.#leave();
      this.#chosen = next;
      next.onOpen(this.socket!);
      // It may have refused the connection at once.
      if (rest.length > 0 && this.socket !== null) next.onData(rest);
    }
  }

  #leave(): void {
    this.#held = null;
    this.context.clients.delete(this);
    this.context.deadlines.remove(this);
  }

  onDrain(): void {
    this.#chosen?.onDrain();
  }
  onEnd(): void {
    if (this.#chosen === null) this.close();
    else this.#chosen.onEnd();
  }
  onClose(): void {
    this.socket = null;
    if (this.#chosen === null) this.#leave();
    else this.#chosen.onClose();
  }
  onFault(error: unknown): void {
    if (this.#chosen !== null) return this.#chosen.onFault(error);
    this.context.handler.fault(error);
    this.close();
  }
  onConnectError(): void {} // only sockets made by connect() have it
  onDeadline(): void {
    this.refuse();
  }
  closeIfIdle(): void {
    if (!this.context.awaitsIdle) this.close();
  }
  close(): void {
    this.socket?.close();
  }
}

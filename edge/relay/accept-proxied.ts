/**
 * A connection on a listener with `proxy_protocol`, until its header has been read: then the socket stands for the client
 * that the header names, and whoever speaks the listener's protocol takes over. A header is required: where it were
 * optional, any client could leave it out or make one up. For the same reason only a trusted proxy may reach the listener.
 */
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import type { Timed } from "./deadlines.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import type { Client, ListenerInfo, RelayContext } from "./relay-context.ts";

/** From the connection to the header's last byte; a proxy sends it at once. */
export const PROXY_HEADER_WAIT_MS_MAX = 5_000;

export class AcceptProxied implements SocketEvents, Timed, Client {
  deadlineMs = Infinity;
  readonly busy = false;
  readonly #context: RelayContext;
  readonly #listener: ListenerInfo;
  readonly #next: () => SocketEvents;
  #chosen: SocketEvents | null = null;
  #socket: Socket | null = null;
  #held: Buffer | null = null;

  constructor(context: RelayContext, listener: ListenerInfo, next: () => SocketEvents) {
    this.#context = context;
    this.#listener = listener;
    this.#next = next;
  }

  onOpen(socket: Socket): void {
    const { clients, deadlines, limits, handler } = this.#context;
    this.#socket = socket;
    clients.add(this);
    deadlines.add(this);
    this.deadlineMs = this.#context.nowMs() + PROXY_HEADER_WAIT_MS_MAX;
    if (clients.size <= limits.clientConnectionsMax) return;
    handler.clientOpened(this.#listener, true);
    handler.clientClosed(this.#listener);
    this.close();
  }

  onData(bytes: Buffer): void {
    if (this.#chosen !== null) return this.#chosen.onData(bytes);
    const all = this.#held === null ? bytes : Buffer.concat([this.#held, bytes]);
    const header = readProxyHeader(all);
    if (header.kind === "more") this.#held = all;
    else if (header.kind === "invalid") this.#refuse();
    else {
      const socket = this.#socket!;
      if (header.source !== null) socket.standsFor(header.source.address, header.source.port);
      this.#leave();
      const chosen = this.#chosen = this.#next();
      chosen.onOpen(socket);
      // It may have refused the connection at once.
      if (header.bytes < all.length && this.#socket !== null) chosen.onData(all.subarray(header.bytes));
    }
  }

  /** There is nobody to tell: an answer would be taken for the client's. */
  #refuse(): void {
    this.#context.handler.limitMet("proxy_headers");
    this.close();
  }

  #leave(): void {
    this.#held = null;
    this.#context.clients.delete(this);
    this.#context.deadlines.remove(this);
  }

  onDrain(): void {
    this.#chosen?.onDrain();
  }
  onEnd(): void {
    if (this.#chosen === null) this.close();
    else this.#chosen.onEnd();
  }
  onClose(): void {
    this.#socket = null;
    if (this.#chosen === null) this.#leave();
    else this.#chosen.onClose();
  }
  onFault(error: unknown): void {
    if (this.#chosen !== null) return this.#chosen.onFault(error);
    this.#context.handler.fault(error);
    this.close();
  }
  onConnectError(): void {} // only sockets made by connect() have it
  onDeadline(): void {
    this.#refuse();
  }
  closeIfIdle(): void {
    this.close();
  }
  close(): void {
    this.#socket?.close();
  }
}

/**
 * A connection on a listener with `proxy_protocol`, until its header has been read: then the socket stands for the client
 * that the header names, and whoever speaks the listener's protocol takes over. A header is required: where it were
 * optional, any client could leave it out or make one up. For the same reason only a trusted proxy may reach the listener.
 */
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { type Decision, FirstBytes } from "./first-bytes.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import type { ListenerInfo, RelayContext } from "./relay-context.ts";

/** From the connection to the header's last byte; a proxy sends it at once. */
export const PROXY_HEADER_WAIT_MS_MAX = 5_000;

export class AcceptProxied extends FirstBytes {
  readonly #listener: ListenerInfo;
  readonly #next: () => SocketEvents;

  constructor(context: RelayContext, listener: ListenerInfo, next: () => SocketEvents) {
    super(context, PROXY_HEADER_WAIT_MS_MAX);
    this.#listener = listener;
    this.#next = next;
  }

  override onOpen(socket: Socket): void {
    super.onOpen(socket);
    const { clients, limits, handler } = this.context;
    if (clients.size <= limits.clientConnectionsMax) return;
    handler.clientOpened(this.#listener, true);
    handler.clientClosed(this.#listener);
    this.close();
  }

  protected override decide(bytes: Buffer): Decision {
    const header = readProxyHeader(bytes);
    if (header.kind === "more") return null;
    if (header.kind === "invalid") return "refused";
    if (header.source !== null) this.socket!.standsFor(header.source.address, header.source.port);
    return { next: this.#next(), rest: bytes.subarray(header.bytes) };
  }

  /** There is nobody to tell: an answer would be taken for the client's. */
  protected override refuse(): void {
    this.context.handler.limitMet("proxy_headers");
    this.close();
  }

  /** A drain that waits for responses has none to wait for here. */
  override closeIfIdle(): void {
    this.close();
  }
}

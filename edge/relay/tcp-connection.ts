/**
 * A client's connection that carries bytes and no requests: the whole of it is one exchange, a tunnel from its first byte.
 * The stages pick the machine as for a request; a machine that cannot be reached is still replaced, because nothing has
 * been sent to it. Where no machine will do, the connection is closed: there is no language to say why.
 *
 * What comes before the machine's connection stands is held, one read of it at most; then the socket pauses.
 */
import { Exchange } from "../request/exchange.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import type { Timed } from "./deadlines.ts";
import type { Downstream } from "./downstream.ts";
import { shownAddress } from "./ip-address.ts";
import { Outbox } from "./outbox.ts";
import type { Client, ListenerInfo, RelayContext } from "./relay-context.ts";
import { TOO_MANY_CONNECTIONS } from "./refusal.ts";
import { RequestHead } from "./request-head.ts";

export class TcpConnection implements Client, Downstream, SocketEvents, Timed {
  readonly protocol = "tcp";
  readonly serverName: string | null;
  tlsVersion: string | null = null;
  readonly listener: ListenerInfo;
  readonly outbox = new Outbox();
  deadlineMs = Infinity;
  forwardedFields = "";
  address = "";
  port = 0;

  readonly #context: RelayContext;
  readonly #host: string;
  #socket: Socket | null = null;
  #exchange: Exchange | null = null;
  #stash: Buffer | null = null;
  #reading = true;
  #halfClosed = false;
  #closeAfterFlush = false;
  #shutdownAfterFlush = false;

  /** @param host the name whose app the bytes are for */
  constructor(
    context: RelayContext,
    listener: ListenerInfo,
    host: string,
    serverName: string | null = null,
  ) {
    this.#context = context;
    this.listener = listener;
    this.#host = host;
    this.serverName = serverName;
  }

  // ── the socket's side ──────────────────────────────────────────────────────────────────────────────────────────

  onOpen(socket: Socket): void {
    const { clients, deadlines, limits, handler } = this.#context;
    this.#socket = socket;
    this.address = shownAddress(socket.remoteAddress);
    this.port = socket.remotePort;
    this.outbox.attach(socket);
    clients.add(this);
    deadlines.add(this);
    const head = new RequestHead();
    head.host = this.#host;
    const exchange = new Exchange(this, head, this.#context.nowMs());
    exchange.tunnel = exchange.requestDone = exchange.dedicated = true;
    this.#exchange = exchange;
    const tooMany = clients.size > limits.clientConnectionsMax;
    handler.clientOpened(this.listener, tooMany);
    if (tooMany) handler.refuse(exchange, TOO_MANY_CONNECTIONS);
    else handler.serveTunnel(exchange);
  }

  onData(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === null) return; // closing
    if (exchange.upstream?.begun && this.#stash === null) this.#send(exchange, bytes);
    else this.#stash = this.#stash === null ? bytes : Buffer.concat([this.#stash, bytes]);
    this.#updateReading();
  }

  #send(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesIn += bytes.length;
    exchange.upstream!.sendBody(bytes);
  }

  onDrain(): void {
    if (!this.outbox.flush()) return;
    if (this.#closeAfterFlush) return this.#socket?.close();
    if (this.#shutdownAfterFlush) this.#socket?.shutdown();
    this.#exchange?.upstream?.clientDrained();
  }

  onEnd(): void {
    this.#halfClosed = true;
    const upstream = this.#exchange?.upstream ?? null;
    // Before the machine's connection stands, its end follows what it said (`bodyMayFlow`).
    if (upstream?.begun) upstream.shutdown();
    else if (this.#exchange === null) this.#closeWhenFlushed();
  }

  onClose(): void {
    this.#socket = null;
    this.#stash = null;
    this.outbox.detach();
    this.#context.clients.delete(this);
    this.#context.deadlines.remove(this);
    this.#gone();
    this.#context.handler.clientClosed(this.listener);
  }

  onFault(error: unknown): void {
    this.#context.handler.fault(error);
    this.close();
  }
  onConnectError(): void {} // only sockets made by connect() have it

  /** It does not take what was left for it. */
  onDeadline(): void {
    this.close();
  }

  #updateReading(): void {
    const upstream = this.#exchange?.upstream ?? null;
    const want = this.#stash === null && !(upstream !== null && upstream.begun && upstream.blocked);
    if (want === this.#reading || this.#socket === null) return;
    this.#reading = want;
    if (want) this.#socket.resume();
    else this.#socket.pause();
  }

  // ── the machine's side ─────────────────────────────────────────────────────────────────────────────────────────

  takeBody(exchange: Exchange): Buffer | null {
    const bytes = this.#stash;
    this.#stash = null;
    if (bytes !== null) exchange.bytesIn += bytes.length;
    return bytes;
  }

  bodyMayFlow(exchange: Exchange): void {
    if (this.#halfClosed) exchange.upstream?.shutdown();
    this.#updateReading();
  }

  upstreamDrained(): void {
    this.#updateReading();
  }

  tunnelBytes(_exchange: Exchange, bytes: Buffer): boolean {
    return this.outbox.write(bytes);
  }

  shutdown(): void {
    if (this.outbox.empty) this.#socket?.shutdown();
    else this.#shutdownAfterFlush = true;
  }

  /** No machine will do. */
  respond(exchange: Exchange): void {
    this.cut(exchange);
  }

  cut(exchange: Exchange): void {
    this.#exchange = null;
    this.#stash = null;
    this.#context.handler.finished(exchange);
    this.#closeWhenFlushed();
  }

  // What a tunnel never has.
  startResponse(): void {}
  interim(): void {}
  becomeTunnel(): void {}
  endResponse(): void {}
  body(): boolean {
    return true;
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #gone(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#exchange = null;
    const upstream = exchange.upstream;
    exchange.upstream = null;
    upstream?.abandon();
    exchange.waiter?.cancel();
    this.#context.handler.finished(exchange);
  }

  #closeWhenFlushed(): void {
    if (this.outbox.empty) return this.#socket?.close();
    this.#closeAfterFlush = true;
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.responseIdleMsMax;
  }

  /** From accept to close. */
  get busy(): boolean {
    return this.#exchange !== null || !this.outbox.empty;
  }
  closeIfIdle(): void {
    if (!this.busy) this.close();
  }
  close(): void {
    this.#socket?.close();
  }
}

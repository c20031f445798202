/**
 * One connection to a machine: connecting, idle in its backend's pool, or carrying one exchange. It trusts nothing that
 * the machine says about where a response ends: a head that two readers could read differently is a bad response, and
 * a connection that has carried one, or any byte too many, is never used again.
 */
import type { Exchange } from "../request/exchange.ts";
import type { Backend } from "../routes/backend.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { BodyReader } from "./body-reader.ts";
import type { Timed } from "./deadlines.ts";
import type { Upstream } from "./downstream.ts";
import { HeadScanner, NEED_MORE, REFUSED } from "./head-scanner.ts";
import { Outbox } from "./outbox.ts";
import type { RelayContext, UpstreamFailure } from "./relay-context.ts";
import { bodyLength, parseResponseHead, type ResponseHead } from "./response-head.ts";

export class UpstreamConnection implements Upstream, SocketEvents, Timed {
  readonly backend: Backend;
  readonly outbox = new Outbox();
  deadlineMs = Infinity;

  readonly #context: RelayContext;
  readonly #scanner: HeadScanner;
  readonly #body: BodyReader;
  #socket: Socket | null = null;
  #target: Backend["target"] | null = null;
  #exchange: Exchange | null;
  #head: ResponseHead | null = null;
  #interim = 0;
  #reused = false;
  #paused = false;
  #shutdownAfterFlush = false;
  #ended = false;
  #closed = false;
  /** The request's head has gone out: the body may follow. */
  begun = false;
  counts: { disconnects: number } | null = null;

  constructor(context: RelayContext, backend: Backend, exchange: Exchange) {
    this.#context = context;
    this.backend = backend;
    this.#exchange = exchange;
    this.#scanner = new HeadScanner(context.limits);
    this.#body = new BodyReader(context.limits);
  }

  get blocked(): boolean {
    return !this.outbox.empty;
  }

  get tookAll(): boolean {
    return this.outbox.empty;
  }

  get usable(): boolean {
    return !this.#closed && !this.#ended && this.#socket !== null && this.#target === this.backend.target;
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  connect(waitMs: number): void {
    this.deadlineMs = this.#context.nowMs() + waitMs;
    this.#context.deadlines.add(this);
    // Another edge in between would speak for its own clients, and understands requests alone.
    const direct = this.#exchange!.dedicated;
    const target = this.#target = direct ? this.backend : this.backend.target;
    const near = this.backend.region === this.#context.region;
    const receiveBufferBytes = near ? this.#context.limits.upstreamReceiveBufferBytes : 0;
    this.#context.sockets.connect(
      { address: target.address, port: target.port, receiveBufferBytes },
      this,
    );
  }

  onOpen(socket: Socket): void {
    this.#socket = socket;
    if (this.#closed) return socket.close();
    this.outbox.attach(socket);
    this.#context.handler.connected(this.#exchange!);
    this.begin(this.#exchange!);
  }

  onConnectError(code: string): void {
    if (this.#closed) return;
    this.#fail(code === "ETIMEDOUT" ? "connect_timeout" : "refused", code);
  }

  /** Sends the head, and of the body what is here already. */
  begin(exchange: Exchange): void {
    this.#exchange = exchange;
    this.begun = true;
    // What carries bytes and no requests may have been seen from now on.
    if (exchange.tunnel) exchange.responseStarted = true;
    const client = exchange.client;
    const first = exchange.takeBody();
    // Reading the body's first bytes can have refused the request.
    if (this.#exchange !== exchange) return;
    if (first === null) this.outbox.writeLatin1(exchange.upstreamHead);
    else this.outbox.writeWithHead(exchange.upstreamHead, first, 0, first.length);
    client.bodyMayFlow(exchange);
    this.#awaitResponse(exchange);
  }

  /** From the pool. */
  reuse(exchange: Exchange): void {
    this.#reused = true;
    exchange.upstream = this;
    this.begin(exchange);
  }

  sendBody(bytes: Buffer): void {
    this.#exchange?.kept?.add(bytes);
    this.outbox.write(bytes);
    if (this.#exchange === null) return;
    if (this.#head === null) return this.#awaitResponse(this.#exchange);
    // Neither a tunnel nor a response that began before its request's end is idle while the client sends.
    const { tunnelIdleMsMax, responseIdleMsMax } = this.#exchange.limits;
    this.deadlineMs = this.#context.nowMs() + (this.#exchange.tunnel ? tunnelIdleMsMax : responseIdleMsMax);
  }

  /** The response's time limit runs from the request's end, and stands still while the body comes. */
  #awaitResponse(exchange: Exchange): void {
    const limits = exchange.limits;
    if (exchange.tunnel) {
      this.deadlineMs = this.#context.nowMs() + limits.tunnelIdleMsMax;
      return;
    }
    const waitMs = exchange.requestDone ? limits.responseWaitMsMax : limits.responseIdleMsMax;
    this.deadlineMs = Math.min(this.#context.nowMs() + waitMs, exchange.startedMs + limits.exchangeMsMax);
  }

  onDrain(): void {
    if (!this.outbox.flush()) return;
    if (this.#shutdownAfterFlush) this.#socket?.shutdown();
    this.#exchange?.client.upstreamDrained();
  }

  /** Half-close towards the machine, once all is out. */
  shutdown(): void {
    if (this.outbox.empty) this.#socket?.shutdown();
    else this.#shutdownAfterFlush = true;
  }

  // ── the response's side ────────────────────────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.destroy(); // a word out of turn
    if (exchange.tunnel) return this.#toClient(exchange, bytes);
    let at = 0;
    while (this.#head === null) {
      at = this.#scanner.feed(bytes, at);
      if (at === NEED_MORE) return;
      if (at === REFUSED) return this.#fail("bad_response", this.#scanner.refusal!.message);
      const head = parseResponseHead(this.#scanner.text);
      if (typeof head === "string") return this.#fail("bad_response", head);
      if (head.status === 101) return this.#switchProtocols(exchange, head, bytes.subarray(at));
      if (head.status < 200) {
        if (++this.#interim > this.#context.limits.interimResponsesMax) {
          this.#context.handler.limitMet("interim_responses");
          return this.#fail("bad_response", "more interim responses than allowed");
        }
        exchange.client.interim(exchange, head);
        if (at === bytes.length) return;
        continue;
      }
      const length = bodyLength(head, exchange.head.method);
      const elsewhere = this.#context.handler.received(exchange, head);
      if (elsewhere !== null) {
        return this.#giveUp(exchange, length === bytes.length - at && head.keepAlive, elsewhere);
      }
      this.#head = head;
      this.#body.begin(length);
      exchange.responseStarted = true;
      exchange.status = head.status;
      exchange.respondedMs = this.#context.nowMs();
      exchange.sink.startResponse(exchange, head, length);
      // A sink that fails ends the exchange.
      if (this.#exchange !== exchange) return;
    }
    this.deadlineMs = Math.min(
      this.#context.nowMs() + exchange.limits.responseIdleMsMax,
      exchange.startedMs + exchange.limits.exchangeMsMax,
    );
    const end = this.#body.feed(bytes, at);
    if (this.#body.invalid) return this.#fail("bad_response", "a chunk is not valid");
    const { sink } = exchange;
    const bytesLeft = end < bytes.length;
    const flowing = sink.body(exchange, bytes, at, end);
    if (sink.tookAll === true) this.#context.sockets.spent(bytes);
    if (this.#exchange !== exchange) return;
    if (this.#body.done) this.#done(exchange, bytesLeft);
    else if (!flowing) this.#pause();
  }

  /** The response is not for the client: `elsewhere` takes the exchange on. */
  #giveUp(exchange: Exchange, whole: boolean, elsewhere: () => void): void {
    const reusable = whole && !exchange.dedicated && exchange.requestDone &&
      !exchange.head.bodyMayStayUnread &&
      this.outbox.empty && this.usable;
    this.#release();
    exchange.upstream = null;
    if (reusable) this.#keep();
    else this.destroy();
    elsewhere();
  }

  #switchProtocols(exchange: Exchange, head: ResponseHead, rest: Buffer): void {
    if (exchange.head.upgrade === null || head.upgrade === null) {
      return this.#fail("bad_response", "101 Switching Protocols to a request that did not ask for it");
    }
    this.#head = head;
    exchange.responseStarted = true;
    exchange.status = 101;
    exchange.respondedMs = this.#context.nowMs();
    exchange.tunnel = true;
    exchange.client.becomeTunnel(exchange, head);
    if (rest.length > 0) this.#toClient(exchange, rest);
    this.deadlineMs = this.#context.nowMs() + exchange.limits.tunnelIdleMsMax;
  }

  #toClient(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesOut += bytes.length;
    this.deadlineMs = this.#context.nowMs() + exchange.limits.tunnelIdleMsMax;
    if (!exchange.client.tunnelBytes(exchange, bytes)) this.#pause();
    if (exchange.client.tookAll === true) this.#context.sockets.spent(bytes);
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  /** The client took what it had not taken before. */
  clientDrained(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  #done(exchange: Exchange, bytesLeft: boolean): void {
    const reusable = this.#head!.keepAlive && !exchange.dedicated && !this.#body.untilClose && !bytesLeft &&
      exchange.requestDone &&
      !exchange.head.bodyMayStayUnread && this.outbox.empty && this.usable;
    this.#release();
    exchange.upstream = null;
    if (reusable) this.#keep();
    else this.destroy();
    exchange.sink.endResponse(exchange);
  }

  /** To the pool, if it has a place. */
  #keep(): void {
    this.clientDrained();
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.upstreamIdleMsMax;
    if (this.backend.keep(this, this.#context.limits.upstreamIdlePerMachineMax)) return;
    if (!this.backend.retired) this.#context.handler.limitMet("upstream_idle_connections");
    this.destroy();
  }

  #release(): void {
    this.#exchange = null;
    this.#head = null;
    this.#interim = 0;
    this.begun = false;
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  onEnd(): void {
    this.#ended = true;
    const exchange = this.#exchange;
    if (exchange === null) return this.destroy();
    if (exchange.tunnel) return exchange.client.shutdown();
    if (this.#head !== null && this.#body.untilClose) {
      exchange.requestDone ||= !exchange.head.hasBody;
      return this.#done(exchange, false);
    }
    this.#fail("reset", "the machine closed the connection before the end of its response");
  }

  onClose(): void {
    const exchange = this.#exchange;
    this.#socket = null;
    if (exchange === null || this.#closed) return this.destroy();
    if (exchange.tunnel) {
      this.#release();
      this.destroy();
      exchange.upstream = null;
      return exchange.sink.cut(exchange);
    }
    this.#fail("reset", "the connection to the machine was reset");
  }

  onFault(error: unknown): void {
    this.#context.handler.fault(error);
    const exchange = this.#exchange;
    this.#release();
    this.destroy();
    exchange?.client.close();
  }

  onDeadline(): void {
    if (this.#exchange === null) return this.destroy();
    if (this.#socket === null) return this.#fail("connect_timeout", "no answer to the connection attempt");
    if (this.#exchange.tunnel) return this.#fail("reset", "the tunnel was idle for too long");
    if (this.#paused) return this.#clientTooSlow(this.#exchange);
    this.#fail("response_timeout", "no response in time");
  }

  /** What one read brought has not been taken within `responseIdleMsMax`: that is the client's fault, and not the machine's. */
  #clientTooSlow(exchange: Exchange): void {
    this.abandon();
    exchange.upstream = null;
    exchange.code = "edge.client_too_slow";
    exchange.sink.cut(exchange);
  }

  #fail(kind: UpstreamFailure["kind"], detail: string): void {
    const exchange = this.#exchange;
    this.#release();
    this.destroy();
    if (exchange === null) return;
    exchange.upstream = null;
    if (exchange.responseStarted) {
      exchange.code = `edge.machine_${kind}`;
      exchange.sink.cut(exchange);
    } else this.#context.handler.failed(exchange, { kind, detail, reused: this.#reused });
  }

  /** The client has gone: nobody waits for the rest. */
  abandon(): void {
    this.#release();
    this.destroy();
  }

  destroy(): void {
    this.#context.deadlines.remove(this);
    if (this.#closed) return;
    this.#closed = true;
    if (this.counts !== null) this.counts.disconnects++;
    this.backend.forget(this);
    this.outbox.detach();
    this.#socket?.close();
  }
}

/**
 * One connection to a machine: connecting, idle in its backend's pool, or carrying one exchange. It trusts nothing that
 * the machine says about where a response ends: a head that two readers could read differently is a bad response, and
 * a connection that has carried one, or any byte too many, is never used again.
 */
import type { Exchange } from "../request/exchange.ts";
import type { Backend } from "../routes/backend.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { BodyReader } from "./body-reader.ts";
import { connectionField } from "./client-connection.ts";
import type { Timed } from "./deadlines.ts";
import { withoutFields } from "./field-cursor.ts";
import { HeadScanner, NEED_MORE, REFUSED } from "./head-scanner.ts";
import { Outbox } from "./outbox.ts";
import type { RelayContext, UpstreamFailure } from "./relay-context.ts";
import { bodyLength, CHUNKED, parseResponseHead, type ResponseHead, UNTIL_CLOSE } from "./response-head.ts";

/** Up to this, head and body go out in one write: a copy is cheaper than a system call. */
const JOIN_BYTES_MAX = 16_384;
const TRANSFER_ENCODING = new Set(["transfer-encoding"]);

export class UpstreamConnection implements SocketEvents, Timed {
  readonly backend: Backend;
  readonly outbox = new Outbox();
  deadlineMs = Infinity;

  readonly #context: RelayContext;
  readonly #scanner: HeadScanner;
  readonly #body: BodyReader;
  #socket: Socket | null = null;
  #exchange: Exchange | null;
  #head: ResponseHead | null = null;
  #keepClient = false;
  #dechunk = false;
  #interim = 0;
  #reused = false;
  #paused = false;
  #shutdownAfterFlush = false;
  #ended = false;
  #closed = false;
  /** The request's head has gone out: the body may follow. */
  begun = false;

  constructor(context: RelayContext, backend: Backend, exchange: Exchange) {
    this.#context = context;
    this.backend = backend;
    this.#exchange = exchange;
    this.#scanner = new HeadScanner(context.limits);
    this.#body = new BodyReader(context.limits);
  }

  get usable(): boolean {
    return !this.#closed && !this.#ended && this.#socket !== null;
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  connect(waitMs: number): void {
    this.deadlineMs = this.#context.nowMs() + waitMs;
    this.#context.deadlines.add(this);
    this.#context.sockets.connect({ address: this.backend.address, port: this.backend.port }, this);
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
    const client = exchange.client;
    const first = client.takeBody(exchange);
    // Reading the body's first bytes can have refused the request.
    if (this.#exchange !== exchange) return;
    if (first !== null && first.length <= JOIN_BYTES_MAX) {
      this.outbox.writeLatin1(exchange.upstreamHead + first.toString("latin1", 0, first.length));
    } else {
      this.outbox.writeLatin1(exchange.upstreamHead);
      if (first !== null) this.outbox.write(first);
    }
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
    this.outbox.write(bytes);
    if (this.#exchange === null) return;
    if (this.#head === null) return this.#awaitResponse(this.#exchange);
    // Neither a tunnel nor a response that began before its request's end is idle while the client sends.
    const { tunnelIdleMsMax, responseIdleMsMax } = this.#context.limits;
    this.deadlineMs = this.#context.nowMs() + (this.#exchange.tunnel ? tunnelIdleMsMax : responseIdleMsMax);
  }

  /** The response's time limit runs from the request's end, and stands still while the body comes. */
  #awaitResponse(exchange: Exchange): void {
    const limits = this.#context.limits;
    const waitMs = exchange.requestDone ? limits.responseWaitMsMax : limits.responseIdleMsMax;
    this.deadlineMs = this.#context.nowMs() + waitMs;
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
    let text = "";
    while (this.#head === null) {
      at = this.#scanner.feed(bytes, at);
      if (at === NEED_MORE) return;
      if (at === REFUSED) return this.#fail("bad_response", this.#scanner.refusal!.message);
      const head = parseResponseHead(this.#scanner.text);
      if (typeof head === "string") return this.#fail("bad_response", head);
      if (head.status === 101) return this.#switchProtocols(exchange, head, bytes.subarray(at));
      if (head.status < 200) {
        if (++this.#interim > this.#context.limits.interimResponsesMax) {
          return this.#fail("bad_response", "more interim responses than allowed");
        }
        // HTTP/1.0 has no 1xx (RFC 9110 section 15.2).
        if (exchange.head.minor === 1) {
          exchange.client.outbox.writeLatin1(`HTTP/1.1 ${head.status}${head.reason}\r\n${head.fields}\r\n`);
        }
        if (at === bytes.length) return;
        continue;
      }
      this.#head = head;
      text = this.#startResponse(exchange, head);
    }
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.responseIdleMsMax;
    const client = exchange.client;
    if (this.#dechunk) client.outbox.writeLatin1(text);
    const end = this.#body.feed(bytes, at);
    if (this.#body.invalid) {
      if (text !== "" && !this.#dechunk) client.outbox.writeLatin1(text);
      return this.#fail("bad_response", "a chunk is not valid");
    }
    let flowing = true;
    if (!this.#dechunk) {
      exchange.bytesOut += end - at;
      if (text !== "" && end - at <= JOIN_BYTES_MAX) {
        flowing = client.outbox.writeLatin1(end === at ? text : text + bytes.toString("latin1", at, end));
      } else {
        if (text !== "") client.outbox.writeLatin1(text);
        flowing = client.outbox.write(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
      }
    } else flowing = client.outbox.empty;
    if (this.#body.done) this.#done(exchange, end < bytes.length);
    else if (!flowing) this.#pause();
  }

  /** @returns the head as the client gets it */
  #startResponse(exchange: Exchange, head: ResponseHead): string {
    const length = bodyLength(head, exchange.head.method);
    this.#body.begin(length);
    let fields = head.fields;
    let framed = length !== UNTIL_CLOSE;
    if (head.length === CHUNKED && exchange.head.minor === 0) {
      // An HTTP/1.0 client knows no chunks: it gets the payload, and its end with the connection.
      fields = withoutFields(fields, TRANSFER_ENCODING);
      framed = false;
      if (length === CHUNKED) {
        this.#dechunk = true;
        this.#body.onPayload = (bytes, from, to) => {
          exchange.bytesOut += to - from;
          exchange.client.outbox.write(bytes.subarray(from, to));
        };
      }
    }
    const keep = framed && exchange.client.mayKeep(exchange);
    this.#keepClient = keep;
    exchange.responseStarted = true;
    exchange.status = head.status;
    exchange.respondedMs = this.#context.nowMs();
    return `HTTP/1.1 ${head.status}${head.reason}\r\n${fields}${
      this.#context.handler.responseFields(exchange, head.hasDate)
    }${connectionField(exchange, keep)}\r\n`;
  }

  #switchProtocols(exchange: Exchange, head: ResponseHead, rest: Buffer): void {
    if (exchange.head.upgrade === null || head.upgrade === null) {
      return this.#fail("bad_response", "101 Switching Protocols to a request that did not ask for it");
    }
    this.#head = head;
    exchange.responseStarted = true;
    exchange.status = 101;
    exchange.respondedMs = this.#context.nowMs();
    exchange.client.outbox.writeLatin1(
      `HTTP/1.1 101${head.reason}\r\n${head.fields}${
        this.#context.handler.responseFields(exchange, head.hasDate)
      }Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n\r\n`,
    );
    exchange.client.becomeTunnel(exchange);
    if (rest.length > 0) this.#toClient(exchange, rest);
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.tunnelIdleMsMax;
  }

  #toClient(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesOut += bytes.length;
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.tunnelIdleMsMax;
    if (!exchange.client.outbox.write(bytes)) this.#pause();
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
    const reusable = this.#head!.keepAlive && !this.#body.untilClose && !bytesLeft && exchange.requestDone &&
      this.outbox.empty && this.usable;
    const keepClient = this.#keepClient;
    this.#release();
    exchange.upstream = null;
    if (reusable) {
      this.clientDrained();
      this.deadlineMs = this.#context.nowMs() + this.#context.limits.upstreamIdleMsMax;
      if (!this.backend.keep(this, this.#context.limits.upstreamIdlePerMachineMax)) this.destroy();
    } else this.destroy();
    exchange.client.responseFinished(exchange, keepClient);
  }

  #release(): void {
    this.#exchange = null;
    this.#head = null;
    this.#dechunk = false;
    this.#body.onPayload = null;
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
      return exchange.client.cut(exchange);
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
    this.#fail("response_timeout", "no response in time");
  }

  #fail(kind: UpstreamFailure["kind"], detail: string): void {
    const exchange = this.#exchange;
    this.#release();
    this.destroy();
    if (exchange === null) return;
    exchange.upstream = null;
    if (exchange.responseStarted) {
      exchange.code = `edge.machine_${kind}`;
      exchange.client.cut(exchange);
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
    this.backend.forget(this);
    this.outbox.detach();
    this.#socket?.close();
  }
}

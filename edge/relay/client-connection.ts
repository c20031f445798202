/**
 * One client's connection. It reads one request at a time, in order; bytes that come early wait in `#stash` with the
 * socket paused, so a connection never holds more than one read. What it reads of a body goes straight to the machine's
 * connection; `#updateReading` is the one place that decides whether the socket may read on.
 */
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { Exchange } from "../request/exchange.ts";
import { BodyReader } from "./body-reader.ts";
import type { Timed } from "./deadlines.ts";
import type { Downstream } from "./downstream.ts";
import { withoutFields } from "./field-cursor.ts";
import { HeadScanner, NEED_MORE, REFUSED } from "./head-scanner.ts";
import { Outbox } from "./outbox.ts";
import { Pace } from "./pace.ts";
import { BAD_CHUNK, BODY_TOO_LARGE, type Refusal, REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS } from "./refusal.ts";
import type { Client, ListenerInfo, RelayContext } from "./relay-context.ts";
import { parseRequestHead, RequestHead } from "./request-head.ts";
import { CHUNKED, type ResponseHead, UNTIL_CLOSE } from "./response-head.ts";
import { reasonOf } from "./status.ts";

/** What the client sees in the log where it left before its response: nginx's number for it. */
const CLIENT_GONE = 499;
const TRANSFER_ENCODING = new Set(["transfer-encoding"]);

export class ClientConnection implements Client, Downstream, SocketEvents, Timed {
  readonly protocol = "1.1";
  readonly serverName: string | null;
  tlsVersion: string | null = null;
  forwardedFields = "";
  readonly listener: ListenerInfo;
  port = 0;
  logged: Uint8Array | null = null;
  readonly outbox = new Outbox();
  deadlineMs = Infinity;
  address = "";

  readonly #context: RelayContext;
  readonly #scanner: HeadScanner;
  readonly #body: BodyReader;
  #socket: Socket | null = null;
  #exchange: Exchange | null = null;
  #stash: Buffer | null = null;
  #reading = true;
  #pumping = false;
  #halfClosed = false;
  #closeAfterFlush = false;
  #shutdownAfterFlush = false;
  #lingering = false;
  #lingerBytes = 0;
  #closed = false;
  /** A response's head that waits for the first bytes of its body. */
  #pendingHead = "";
  /** What the response's head has promised. */
  #keepAfter = false;
  /** For HTTP/1.0 clients, which know no chunks. */
  #dechunker: BodyReader | null = null;
  /** While a body of known length comes in more than one read. */
  #pace: Pace | null = null;

  constructor(context: RelayContext, listener: ListenerInfo, serverName: string | null = null) {
    this.#context = context;
    this.listener = listener;
    this.serverName = serverName;
    this.#scanner = new HeadScanner(context.limits);
    this.#body = new BodyReader(context.limits);
    this.#headWaitMsMax = context.limits.headWaitMsMax;
  }

  // ── the socket's side ──────────────────────────────────────────────────────────────────────────────────────────

  onOpen(socket: Socket): void {
    this.#socket = socket;
    this.address = clientAddress(socket.remoteAddress);
    this.port = socket.remotePort;
    this.outbox.attach(socket);
    const { clients, deadlines, limits } = this.#context;
    clients.add(this);
    deadlines.add(this);
    this.deadlineMs = this.#context.nowMs() + limits.headWaitMsMax;
    // Whoever watches the edge must be able to see that it is full.
    const refused = clients.size > limits.clientConnectionsMax && !this.listener.admin;
    this.#context.handler.clientOpened(this.listener, refused);
    if (refused) this.#refuse(TOO_MANY_CONNECTIONS);
  }

  onData(bytes: Buffer): void {
    if (this.#lingering) return this.#discard(bytes.length);
    const exchange = this.#exchange;
    if (exchange === null) {
      if (this.#stash === null && this.outbox.empty) this.#readHead(bytes);
      else this.#keep(bytes);
      // A response may have been finished while its own request was still being read.
      if (this.#stash !== null) this.#pump();
    } else if (exchange.tunnel) {
      this.#tunnelData(exchange, bytes);
    } else if (exchange.upstream !== null && exchange.upstream.begun && !exchange.requestDone) {
      this.#forwardBody(exchange, bytes);
    } else {
      this.#keep(bytes);
    }
    this.#updateReading();
  }

  onDrain(): void {
    const waiting = !this.outbox.empty;
    const flushed = this.outbox.flush();
    if (waiting && this.#exchange === null) this.#limitRest(flushed);
    if (!flushed) return;
    if (this.#shutdownAfterFlush) this.#socket?.shutdown();
    if (this.#closeAfterFlush) return this.#closeNow();
    this.#exchange?.upstream?.clientDrained();
    if (this.#exchange === null) this.#pump();
    if (this.#context.draining && !this.#context.awaitsIdle && !this.busy) return this.#closeNow();
    this.#updateReading();
  }

  onEnd(): void {
    this.#halfClosed = true;
    const exchange = this.#exchange;
    if (this.#lingering) return this.close();
    if (exchange === null) {
      if (this.#stash === null && !this.#closeAfterFlush) this.#closeWhenFlushed();
    } else if (exchange.tunnel) {
      exchange.upstream?.shutdown();
    } else if (!exchange.requestDone && this.#stash === null) {
      this.#gone();
      this.close();
    } else if (!exchange.responseStarted) {
      this.deadlineMs = this.#context.nowMs() + this.#context.limits.halfClosedWaitMsMax;
    }
  }

  onClose(): void {
    this.#closed = true;
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

  onDeadline(): void {
    const exchange = this.#exchange;
    if (this.#lingering || this.#closeAfterFlush) return this.close();
    if (exchange === null) {
      if (this.#scanner.inHead) this.#refuse(REQUEST_TIMEOUT);
      else this.close();
    } else if (exchange.requestDone && exchange.responseStarted) {
      return; // half-closed, and the response began in time: its own limits hold from now on
    } else if (this.#blocked) {
      return; // the machine is slow to read, not the client to send; upstreamDrained() sets the limit again
    } else if (!exchange.requestDone && !exchange.responseStarted && !this.#halfClosed) {
      this.#context.handler.refuse(exchange, REQUEST_TIMEOUT);
    } else {
      this.#gone();
      this.close();
    }
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  #readHead(bytes: Buffer): void {
    const end = this.#scanner.feed(bytes, 0);
    if (end === NEED_MORE) {
      const latest = this.#context.nowMs() + this.#headWaitMsMax;
      if (this.#scanner.inHead && !this.#headTimed) {
        this.#headTimed = true;
        this.deadlineMs = latest;
      }
      return;
    }
    this.#headTimed = false;
    if (end === REFUSED) return this.#refuse(this.#scanner.refusal!);
    const head = parseRequestHead(this.#scanner.text, this.#context.limits);
    if (!(head instanceof RequestHead)) return this.#refuse(head);
    if (end < bytes.length) this.#stash = bytes.subarray(end);
    const exchange = new Exchange(this, head, this.#context.nowMs());
    this.#exchange = exchange;
    this.#body.begin(head.contentLength);
    exchange.requestDone = this.#body.done;
    this.deadlineMs = Infinity;
    this.#context.handler.serve(exchange);
  }
  #headTimed = false;
  /** Of the service that the connection asked last: the name of the next is in a head yet to come. */
  #headWaitMsMax: number;

  #refuse(why: Refusal): void {
    const exchange = new Exchange(this, new RequestHead(), this.#context.nowMs());
    this.#exchange = exchange;
    this.#stash = null;
    // A connection too many does not linger: lingering ones would be too many as well.
    exchange.requestDone = why === TOO_MANY_CONNECTIONS;
    this.#context.handler.refuse(exchange, why);
  }

  #keep(bytes: Buffer): void {
    this.#stash = this.#stash === null ? bytes : Buffer.concat([this.#stash, bytes]);
  }

  /** The last of a read, given to the machine's half and to nobody else. */
  #given: Buffer | null = null;

  /** @returns the body's bytes that are here already; null where there are none */
  takeBody(exchange: Exchange): Buffer | null {
    this.#body.bytesMax = exchange.limits.bodyBytesMax;
    if (exchange.requestDone || this.#stash === null) return null;
    const bytes = this.#stash;
    this.#stash = null;
    const piece = this.#readBody(exchange, bytes);
    if (this.#stash === null) this.#given = piece;
    return piece;
  }

  /** The machine's connection stands; from now on the body flows. */
  bodyMayFlow(exchange: Exchange): void {
    const { upstream, kept } = exchange;
    const given = this.#given;
    this.#given = null;
    // What is kept for another machine goes when the response begins.
    const isKept = kept !== null && !kept.lost;
    if (given !== null && upstream?.tookAll === true && !isKept) this.#context.sockets.spent(given);
    if (!exchange.requestDone) {
      const nowMs = this.#context.nowMs();
      this.deadlineMs = nowMs + exchange.limits.bodyIdleMsMax;
      if (exchange.head.contentLength > 0) (this.#pace ??= new Pace()).turnBegins(nowMs);
    }
    this.#updateReading();
  }

  #readBody(exchange: Exchange, bytes: Buffer): Buffer | null {
    const end = this.#body.feed(bytes, 0);
    if (this.#body.invalid) {
      const why = this.#body.tooLarge ? BODY_TOO_LARGE : BAD_CHUNK;
      if (exchange.responseStarted) {
        exchange.code = why.code;
        this.#gone();
        this.close();
      } else this.#context.handler.refuse(exchange, why);
      return null;
    }
    exchange.bytesIn += end;
    exchange.bodySent = true;
    exchange.requestDone = this.#body.done;
    if (end < bytes.length) this.#keep(bytes.subarray(end));
    return end === bytes.length ? bytes : bytes.subarray(0, end);
  }

  #forwardBody(exchange: Exchange, bytes: Buffer): void {
    const piece = this.#readBody(exchange, bytes);
    if (piece === null) return;
    const nowMs = this.#context.nowMs();
    if (exchange.requestDone) {
      this.deadlineMs = Infinity;
      this.#pace = null;
    } else {
      this.deadlineMs = nowMs + exchange.limits.bodyIdleMsMax;
      this.#pace?.moved(piece.length);
      if (this.#tooSlow(nowMs)) return this.onDeadline();
    }
    const { upstream, kept } = exchange;
    upstream?.sendBody(piece);
    if (piece === bytes && upstream?.tookAll === true && (kept === null || kept.lost)) {
      this.#context.sockets.spent(bytes);
    }
  }

  #tooSlow(nowMs: number): boolean {
    const { bodyBytesPerSecondMin, bodyGraceMsMax } = this.#context.limits;
    return this.#pace?.below(bodyBytesPerSecondMin, bodyGraceMsMax, nowMs) ?? false;
  }

  #tunnelData(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesIn += bytes.length;
    exchange.upstream?.sendBody(bytes);
    if (exchange.upstream?.tookAll === true) this.#context.sockets.spent(bytes);
  }

  #updateReading(): void {
    if (this.#socket === null) return;
    const want = this.#lingering || (this.#stash === null && !this.#blocked);
    if (want === this.#reading) return;
    this.#reading = want;
    if (want) this.#socket.resume();
    else this.#socket.pause();
    if (want) this.#pace?.turnBegins(this.#context.nowMs());
    else this.#pace?.turnEnds(this.#context.nowMs());
  }

  /** The machine's connection has not taken what came last. */
  get #blocked(): boolean {
    const upstream = this.#exchange?.upstream ?? null;
    return upstream !== null && upstream.begun && upstream.blocked;
  }

  /** The machine's connection took what it had not taken before. */
  upstreamDrained(): void {
    const exchange = this.#exchange;
    if (exchange !== null && !exchange.requestDone) {
      this.deadlineMs = this.#context.nowMs() + exchange.limits.bodyIdleMsMax;
    }
    this.#updateReading();
  }

  // ── the response's side ────────────────────────────────────────────────────────────────────────────────────────

  /** A request is being read or answered, or the client has not taken all of its answer. */
  get busy(): boolean {
    return this.#exchange !== null || this.#scanner.inHead || this.#lingering || !this.outbox.empty;
  }

  get closing(): boolean {
    return this.#closed || this.#closeAfterFlush || this.#lingering;
  }

  /** May the connection serve another request after this one's response? */
  mayKeep(exchange: Exchange): boolean {
    return exchange.head.keepAlive && exchange.requestDone && !this.#context.draining && !this.#halfClosed;
  }

  get tookAll(): boolean {
    return this.outbox.empty;
  }

  interim(exchange: Exchange, head: ResponseHead): void {
    // HTTP/1.0 has no 1xx (RFC 9110 section 15.2).
    if (exchange.head.minor === 1) {
      this.outbox.writeLatin1(`HTTP/1.1 ${head.status}${head.reason}\r\n${head.fields}\r\n`);
    }
  }

  startResponse(exchange: Exchange, head: ResponseHead, length: number): void {
    let fields = head.fields;
    let framed = length !== UNTIL_CLOSE;
    if (head.length === CHUNKED && exchange.head.minor === 0) {
      // The payload, and its end with the connection.
      fields = withoutFields(fields, TRANSFER_ENCODING);
      framed = false;
      if (length === CHUNKED) this.#dechunk(exchange);
    }
    this.#keepAfter = framed && this.mayKeep(exchange);
    this.#pendingHead = `HTTP/1.1 ${head.status}${head.reason}\r\n${fields}${
      this.#context.handler.responseFields(exchange, head.hasDate)
    }${connectionField(exchange, this.#keepAfter)}\r\n`;
  }

  #dechunk(exchange: Exchange): void {
    this.#dechunker = new BodyReader(this.#context.limits);
    this.#dechunker.begin(CHUNKED);
    this.#dechunker.onPayload = (bytes, from, to) => {
      exchange.bytesOut += to - from;
      this.outbox.write(bytes.subarray(from, to));
    };
  }

  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean {
    const head = this.#pendingHead;
    this.#pendingHead = "";
    if (this.#dechunker !== null) {
      this.outbox.writeLatin1(head);
      this.#dechunker.feed(to === bytes.length ? bytes : bytes.subarray(0, to), from);
      return this.outbox.empty;
    }
    exchange.bytesOut += to - from;
    if (head === "") {
      return this.outbox.write(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
    }
    return this.outbox.writeWithHead(head, bytes, from, to);
  }

  endResponse(exchange: Exchange): void {
    this.#flushHead();
    this.#dechunker = null;
    this.#responseFinished(exchange, this.#keepAfter);
  }

  #flushHead(): void {
    if (this.#pendingHead === "") return;
    this.outbox.writeLatin1(this.#pendingHead);
    this.#pendingHead = "";
  }

  respond(exchange: Exchange, status: number, fields: string, body: Buffer): void {
    if (this.#closed) return;
    this.#swallowBody(exchange);
    const keep = this.mayKeep(exchange);
    this.outbox.writeLatin1(
      `HTTP/1.1 ${status} ${reasonOf(status)}\r\n${fields}Content-Length: ${body.length}\r\n${
        connectionField(exchange, keep)
      }\r\n`,
    );
    if (exchange.head.method !== "HEAD") {
      this.outbox.write(body);
      exchange.bytesOut += body.length;
    }
    this.#responseFinished(exchange, keep);
  }

  /** A body that is here in full already costs its connection nothing. */
  #swallowBody(exchange: Exchange): void {
    if (exchange.requestDone || this.#stash === null || exchange.head.expectsContinue) return;
    const end = this.#body.feed(this.#stash, 0);
    if (this.#body.invalid || !this.#body.done) return;
    exchange.bytesIn += end;
    exchange.requestDone = true;
    this.#stash = end < this.#stash.length ? this.#stash.subarray(end) : null;
  }

  #responseFinished(exchange: Exchange, keep: boolean): void {
    this.#exchange = null;
    this.#pace = null;
    this.#headWaitMsMax = exchange.limits.headWaitMsMax;
    this.#context.handler.finished(exchange);
    if (this.#closed) return;
    if (!keep || !exchange.requestDone) {
      const unread = this.#stash !== null || !exchange.requestDone;
      this.#stash = null;
      return unread ? this.#linger() : this.#closeWhenFlushed();
    }
    this.#limitRest(this.outbox.empty);
    if (this.#stash !== null) this.#pump();
    else if (this.#halfClosed) this.#closeWhenFlushed();
    else this.#updateReading();
  }

  /** A response has begun and cannot be finished: the end of the connection says so. */
  cut(exchange: Exchange): void {
    this.#flushHead();
    this.#exchange = null;
    this.#context.handler.finished(exchange);
    this.#closeWhenFlushed();
  }

  /** Serves what was pipelined, one after the other and not deeper in the stack. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#exchange === null && this.#stash !== null && this.outbox.empty && !this.closing) {
      const bytes = this.#stash;
      this.#stash = null;
      this.#readHead(bytes);
    }
    this.#pumping = false;
    if (this.#halfClosed && this.#exchange === null && !this.closing && this.#stash === null) {
      this.#closeWhenFlushed();
    }
    this.#updateReading();
  }

  becomeTunnel(exchange: Exchange, head: ResponseHead): void {
    this.outbox.writeLatin1(
      `HTTP/1.1 101${head.reason}\r\n${head.fields}${
        this.#context.handler.responseFields(exchange, head.hasDate)
      }Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n\r\n`,
    );
    this.deadlineMs = Infinity;
    const bytes = this.#stash;
    this.#stash = null;
    if (bytes !== null) this.#tunnelData(exchange, bytes);
    if (this.#halfClosed) exchange.upstream?.shutdown();
    this.#updateReading();
  }

  tunnelBytes(_exchange: Exchange, bytes: Buffer): boolean {
    return this.outbox.write(bytes);
  }

  /** Half-close towards the client, once all is out. */
  shutdown(): void {
    if (this.outbox.empty) this.#socket?.shutdown();
    else this.#shutdownAfterFlush = true;
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Tells the exchange, if one runs, that nobody is there for its response. */
  #gone(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#exchange = null;
    if (!exchange.tunnel) {
      if (!exchange.responseStarted) exchange.status = CLIENT_GONE;
      exchange.code ??= "edge.client_gone";
    }
    const upstream = exchange.upstream;
    exchange.upstream = null;
    upstream?.abandon();
    exchange.waiter?.cancel();
    this.#context.handler.finished(exchange);
  }

  /** Says that no more will come, then reads on for a while: a reset would destroy what is still under way. */
  #linger(): void {
    if (this.#halfClosed) return this.#closeWhenFlushed();
    this.#lingering = true;
    this.#limitRest(this.outbox.empty);
    this.shutdown();
    this.#updateReading();
  }

  /** Between responses: a client that still takes the last one is not idle, however slow it is. */
  #limitRest(flushed: boolean): void {
    const { lingerMsMax, clientIdleMsMax, responseIdleMsMax } = this.#context.limits;
    const restMs = this.#lingering ? lingerMsMax : clientIdleMsMax;
    this.deadlineMs = this.#context.nowMs() + (flushed ? restMs : responseIdleMsMax);
  }

  #discard(count: number): void {
    this.#lingerBytes += count;
    if (this.#lingerBytes <= this.#context.limits.lingerBytesMax) return;
    this.#context.handler.limitMet("linger_bytes");
    this.close();
  }

  #closeWhenFlushed(): void {
    if (this.outbox.empty) return this.#closeNow();
    this.#closeAfterFlush = true;
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.responseIdleMsMax;
  }

  #closeNow(): void {
    this.#socket?.close();
  }

  /** No exchange runs and none will: for a drain. */
  closeIfIdle(): void {
    if (this.#context.awaitsIdle) return;
    if (this.#exchange === null && !this.#scanner.inHead) this.#closeWhenFlushed();
  }

  close(): void {
    this.#socket?.close();
  }
}

/** RFC 9112 section 9.3: persistence is the default of HTTP/1.1 and must be said in HTTP/1.0. */
export function connectionField(exchange: Exchange, keep: boolean): string {
  if (!keep) return "Connection: close\r\n";
  return exchange.head.minor === 0 ? "Connection: keep-alive\r\n" : "";
}

/** An IPv4 client on a dual-stack socket is shown as IPv4. */
function clientAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

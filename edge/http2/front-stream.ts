/**
 * A request of HTTP/2 and its response: the client's half of an exchange. Towards the stages it speaks HTTP/1.1: a body without
 * a length goes on as chunks, the chunks of a response come off again, trailers pass both ways.
 */
import { BodyReader } from "../relay/body-reader.ts";
import type { Timed } from "../relay/deadlines.ts";
import type { Downstream } from "../relay/downstream.ts";
import { withoutFields } from "../relay/field-cursor.ts";
import { Pace } from "../relay/pace.ts";
import { BAD_FIELD, BAD_LENGTH, BODY_TOO_LARGE, type Refusal, REQUEST_TIMEOUT } from "../relay/refusal.ts";
import type { ListenerInfo } from "../relay/relay-context.ts";
import type { RequestHead } from "../relay/request-head.ts";
import { CHUNKED, type ResponseHead } from "../relay/response-head.ts";
import { Exchange } from "../request/exchange.ts";
import { BAD_RESPONSE } from "../request/refusals.ts";
import { chunk, CHUNK_END, lastChunk } from "./chunk.ts";
import { trailerLines } from "./field-line.ts";
import type { FrontConnection } from "./front-connection.ts";
import { CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR } from "./protocol.ts";
import { Http2Stream } from "./stream.ts";
import { accepted } from "./websocket.ts";

/** What the log says where the client left before its response: nginx's number for it. */
const CLIENT_GONE = 499;
const HANDSHAKE_FIELDS = new Set(["sec-websocket-accept"]);

export class FrontStream extends Http2Stream implements Downstream, Timed {
  readonly protocol = "2";
  readonly listener: ListenerInfo;
  readonly address: string;
  readonly serverName: string | null;
  readonly tlsVersion: string | null;
  deadlineMs = Infinity;

  readonly #front: FrontConnection;
  #exchange: Exchange | null;
  /** Of the WebSocket handshake that a machine must answer; null without. */
  readonly #key: string | null;
  /** Body bytes, already in the request head's framing, that the machine's half has not asked for. */
  #inbound: Buffer[] | null = null;
  /** Of flow control, for what lies in `#inbound` or in the machine's half. */
  #uncredited = 0;
  #payloadBytes = 0;
  #flowing = false;
  #timed = false;
  /** While a body of known length comes in more than one piece. */
  #pace: Pace | null = null;
  #dechunker: BodyReader | null = null;
  #drainedAfterChunks = true;
  #trailers = "";
  /** How the stream ends where the client has not finished its request. */
  #earlyEnd: number = NO_ERROR;

  constructor(
    connection: FrontConnection,
    id: number,
    head: RequestHead,
    endStream: boolean,
    key: string | null,
  ) {
    super(connection, id);
    this.#front = connection;
    this.listener = connection.listener;
    this.address = connection.address;
    this.serverName = connection.serverName;
    this.tlsVersion = connection.tlsVersion;
    this.#key = key;
    this.remoteDone = endStream;
    const exchange = new Exchange(this, head, connection.context.nowMs());
    exchange.requestDone = endStream || key !== null;
    this.#exchange = exchange;
  }

  get port(): number {
    return this.#front.port;
  }
  get forwardedFields(): string {
    return this.#front.forwardedFields;
  }
  set forwardedFields(lines: string) {
    this.#front.forwardedFields = lines;
  }
  get logged(): Uint8Array | null {
    return this.#front.logged;
  }
  set logged(bytes: Uint8Array | null) {
    this.#front.logged = bytes;
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  serve(): void {
    const exchange = this.#exchange;
    if (exchange === null || exchange.id !== "") return;
    if (this.remoteDone && exchange.head.contentLength > this.#payloadBytes) {
      return this.refuse(BAD_LENGTH, true);
    }
    this.#front.context.handler.serve(exchange);
  }

  /** @param malformed the request is, and not only its answer a refusal */
  refuse(why: Refusal, malformed: boolean): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (malformed) this.#earlyEnd = PROTOCOL_ERROR;
    if (!exchange.responseStarted) return this.#front.context.handler.refuse(exchange, why);
    exchange.code = why.code;
    this.reset(malformed ? PROTOCOL_ERROR : CANCEL);
    this.#gone();
  }

  override onPiece(bytes: Buffer, from: number, to: number, ends: boolean): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.consumed(to - from);
    if (exchange.tunnel || this.#key !== null) {
      // Before the machine has agreed they wait like a body.
      this.#pass(exchange, bytes.subarray(from, to), to - from);
      if (ends) this.onRemoteEnd();
      return;
    }
    const { contentLength } = exchange.head;
    this.#payloadBytes += to - from;
    if (contentLength === CHUNKED) {
      if (this.#payloadBytes > exchange.limits.bodyBytesMax) return this.refuse(BODY_TOO_LARGE, false);
      if (ends) this.#requestEnds(exchange);
      this.#pass(exchange, chunk(bytes, from, to, ends), to - from);
    } else {
      if (this.#payloadBytes > contentLength || (ends && this.#payloadBytes < contentLength)) {
        return this.refuse(BAD_LENGTH, true);
      }
      if (this.#payloadBytes === contentLength) this.#requestEnds(exchange);
      this.#pass(exchange, bytes.subarray(from, to), to - from);
    }
    if (ends) this.remoteEnded();
  }

  override onRemoteEnd(): void {
    const exchange = this.#exchange;
    if (exchange === null || this.closed) return this.remoteEnded();
    if (exchange.tunnel) this.#tunnelEnds(exchange);
    else if (this.#key !== null) {
      this.refuse(BAD_LENGTH, true);
    } else if (exchange.head.contentLength === CHUNKED) {
      this.#requestEnds(exchange);
      this.#pass(exchange, CHUNK_END, 0);
    } else if (this.#payloadBytes !== exchange.head.contentLength) return this.refuse(BAD_LENGTH, true);
    this.remoteEnded();
  }

  /** @param lines null where they are not valid */
  trailers(lines: string | null): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.remoteEnded();
    if (lines === null || exchange.tunnel || this.#key !== null || trailerLines(lines) !== lines) {
      return this.refuse(BAD_FIELD, true);
    }
    if (exchange.head.contentLength !== CHUNKED) return this.onRemoteEnd(); // HTTP/1.1 has no place for them
    this.#requestEnds(exchange);
    this.#pass(exchange, lastChunk(lines), 0);
    this.remoteEnded();
  }

  #requestEnds(exchange: Exchange): void {
    exchange.requestDone = true;
    this.deadlineMs = Infinity;
  }

  /** @param size what it counts for in flow control */
  #pass(exchange: Exchange, bytes: Buffer, size: number): void {
    const upstream = exchange.upstream;
    this.#uncredited += size;
    if (this.#flowing && this.#inbound === null && upstream !== null && upstream.begun && !upstream.blocked) {
      if (!exchange.requestDone) {
        this.deadlineMs = this.#bodyDeadline(exchange);
        if (this.#tooSlow(size)) return this.refuse(REQUEST_TIMEOUT, false);
      }
      this.#send(exchange, bytes);
      if (upstream.blocked) this.#pace?.turnEnds(this.#front.context.nowMs());
      return this.#credit(exchange);
    }
    // A copy: what came may be a small part of a large read. Chunks have been copied already.
    const own = bytes === CHUNK_END || bytes.byteLength === bytes.buffer.byteLength
      ? bytes
      : Buffer.from(bytes);
    (this.#inbound ??= []).push(own);
  }

  #send(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesIn += bytes.length;
    exchange.bodySent = true;
    exchange.upstream!.sendBody(bytes);
  }

  /** Gives back to the client's window what the machine's connection has taken. */
  #credit(exchange: Exchange): void {
    if (this.#uncredited === 0 || (exchange.upstream?.blocked ?? false)) return;
    const bytes = this.#uncredited;
    this.#uncredited = 0;
    this.consumed(bytes);
  }

  takeBody(exchange: Exchange): Buffer | null {
    const inbound = this.#inbound;
    if (inbound === null || exchange.head.upgrade !== null) return null;
    // What came before the service, and with it the limit, was known.
    if (this.#payloadBytes > exchange.limits.bodyBytesMax) {
      this.refuse(BODY_TOO_LARGE, false);
      return null;
    }
    this.#inbound = null;
    const bytes = inbound.length === 1 ? inbound[0]! : Buffer.concat(inbound);
    exchange.bytesIn += bytes.length;
    exchange.bodySent = true;
    return bytes;
  }

  bodyMayFlow(exchange: Exchange): void {
    this.#flowing = this.#key === null;
    if (!exchange.requestDone) {
      this.deadlineMs = this.#bodyDeadline(exchange);
      if (exchange.head.contentLength > 0) {
        this.#pace = new Pace();
        this.#pace.turnBegins(this.#front.context.nowMs());
      }
      this.#time();
    }
    this.upstreamDrained();
  }

  upstreamDrained(): void {
    const exchange = this.#exchange;
    if (exchange === null || !this.#flowing) return;
    if (!exchange.requestDone) {
      this.deadlineMs = this.#bodyDeadline(exchange);
      this.#pace?.turnBegins(this.#front.context.nowMs());
    }
    const bytes = this.#inbound;
    if (bytes !== null && exchange.upstream !== null) {
      this.#inbound = null;
      this.#send(exchange, bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes));
      if (this.#endsAfterInbound) exchange.upstream.shutdown();
    }
    this.#credit(exchange);
  }

  #bodyDeadline(exchange: Exchange): number {
    return this.#front.context.nowMs() + exchange.limits.bodyIdleMsMax;
  }

  #tooSlow(size: number): boolean {
    if (this.#pace === null) return false;
    const { bodyBytesPerSecondMin, bodyGraceMsMax } = this.#front.context.limits;
    this.#pace.moved(size);
    return this.#pace.below(bodyBytesPerSecondMin, bodyGraceMsMax, this.#front.context.nowMs());
  }

  #time(): void {
    if (this.#timed || this.closed) return;
    this.#timed = true;
    this.#front.context.deadlines.add(this);
  }

  onDeadline(): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.reset(CANCEL); // it does not take what it was answered
    if (exchange.requestDone || exchange.tunnel || (exchange.upstream?.blocked ?? false)) return;
    this.refuse(REQUEST_TIMEOUT, false);
  }

  // ── the response's side ────────────────────────────────────────────────────────────────────────────────────────

  interim(_exchange: Exchange, head: ResponseHead): void {
    if (this.closed) return;
    const { encoder, writer } = this.#front;
    writer.headers(this.id, encoder.begin().status(head.status).lines(head.fields).end(), false);
  }

  startResponse(exchange: Exchange, head: ResponseHead, length: number): void {
    const fields = this.#front.context.handler.responseFields(exchange, head.hasDate);
    this.#head(head.status, head.fields, fields, length === 0);
    if (length !== CHUNKED) return;
    const dechunker = this.#dechunker = new BodyReader(this.#front.context.limits);
    dechunker.begin(CHUNKED);
    dechunker.onPayload = (bytes, from, to) => {
      exchange.bytesOut += to - from;
      this.#drainedAfterChunks = this.sendData(bytes, from, to);
    };
    dechunker.onTrailer = (line) => this.#trailers += `${line}\r\n`;
  }

  #head(status: number, lines: string, more: string, ends: boolean): void {
    if (this.closed) return;
    const { encoder, writer } = this.#front;
    writer.headers(this.id, encoder.begin().status(status).lines(lines).lines(more).end(), ends);
    // `ended` may close the stream; whoever gives the response still has to say that it is over.
    this.#headAlone = ends;
  }
  #headAlone = false;

  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean {
    if (from === to) return true;
    if (this.#dechunker !== null) {
      this.#dechunker.feed(to === bytes.length ? bytes : bytes.subarray(0, to), from);
      return this.#drainedAfterChunks;
    }
    exchange.bytesOut += to - from;
    return this.sendData(bytes, from, to);
  }

  endResponse(exchange: Exchange): void {
    this.#dechunker = null;
    this.#finished(exchange);
    if (this.#headAlone) this.ended();
    else this.finish(this.#trailers);
    this.#awaitClient(exchange);
  }

  cut(exchange: Exchange): void {
    const tunnel = exchange.tunnel;
    this.#finished(exchange);
    // A tunnel whose machine had said its end has not been cut: what waits still goes out.
    if (tunnel && this.finishing) {
      if (this.localDone) this.reset(NO_ERROR);
    } else this.reset(tunnel ? CANCEL : INTERNAL_ERROR);
  }

  respond(exchange: Exchange, status: number, fields: string, body: Buffer): void {
    if (this.closed) return;
    const alone = exchange.head.method === "HEAD" || body.length === 0;
    this.#head(status, fields, `content-length: ${body.length}\r\n`, alone);
    if (alone) {
      this.#finished(exchange);
      return this.ended();
    }
    exchange.bytesOut += body.length;
    this.sendData(body, 0, body.length);
    this.#finished(exchange);
    this.finish();
    this.#awaitClient(exchange);
  }

  #finished(exchange: Exchange): void {
    this.#exchange = null;
    this.#inbound = null;
    this.#uncredited = 0;
    if (this.#timed) this.deadlineMs = Infinity;
    this.#front.context.handler.finished(exchange);
  }

  /** All has been given, but not all has gone out: nobody else watches a client that does not read. */
  #awaitClient(exchange: Exchange): void {
    if (this.closed || this.pendingBytes === 0) return;
    this.#time();
    this.deadlineMs = this.#front.context.nowMs() + exchange.limits.responseIdleMsMax;
  }

  override onDrained(): void {
    this.#exchange?.upstream?.clientDrained();
  }

  override onLocalDone(): void {
    // The answer is whole; what the client still sends of its request interests nobody (RFC 9113 section 8.1). curl 7.88
    // takes this reset for an error, from nginx too; letting such a client send on for a while makes it spin instead.
    if (!this.remoteDone && this.#exchange === null) this.reset(this.#earlyEnd);
  }

  // ── tunnels ────────────────────────────────────────────────────────────────────────────────────────────────────

  becomeTunnel(exchange: Exchange, head: ResponseHead): void {
    if (this.#key === null || !accepted(this.#key, head.fields)) {
      exchange.tunnel = false;
      exchange.responseStarted = false;
      return this.#front.context.handler.refuse(exchange, BAD_RESPONSE);
    }
    exchange.status = 200;
    const fields = this.#front.context.handler.responseFields(exchange, head.hasDate);
    this.#head(200, withoutFields(head.fields, HANDSHAKE_FIELDS), fields, false);
    this.#flowing = true;
    this.upstreamDrained();
  }

  tunnelBytes(_exchange: Exchange, bytes: Buffer): boolean {
    return this.sendData(bytes, 0, bytes.length);
  }

  shutdown(): void {
    this.finish();
  }

  /** The client will send no more; behind what waits. */
  #tunnelEnds(exchange: Exchange): void {
    if (this.#inbound === null) exchange.upstream?.shutdown();
    else this.#endsAfterInbound = true;
  }
  #endsAfterInbound = false;

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  override onReset(_error: number): void {
    this.#gone();
  }

  /** Tells the exchange, if one runs, that nobody is there for its response. */
  #gone(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (!exchange.tunnel) {
      if (!exchange.responseStarted) exchange.status = CLIENT_GONE;
      exchange.code ??= "edge.client_gone";
    }
    const upstream = exchange.upstream;
    exchange.upstream = null;
    upstream?.abandon();
    exchange.waiter?.cancel();
    this.#finished(exchange);
  }

  close(): void {
    this.reset(INTERNAL_ERROR);
    this.#gone();
  }

  override leave(): void {
    super.leave();
    if (!this.#timed) return;
    this.#timed = false;
    this.#front.context.deadlines.remove(this);
  }

  onFault(error: unknown): void {
    this.#front.context.handler.fault(error);
    this.close();
  }
}

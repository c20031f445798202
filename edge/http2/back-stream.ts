/**
 * A request to a machine over HTTP/2: the machine's half of an exchange. From the stages it takes HTTP/1.1 and gives it back:
 * chunks come off a request's body and go on to a response's, trailers pass both ways, which is all that gRPC needs.
 */
import { BodyReader } from "../relay/body-reader.ts";
import type { Timed } from "../relay/deadlines.ts";
import type { Upstream } from "../relay/downstream.ts";
import { fieldValue } from "../relay/field-cursor.ts";
import type { UpstreamFailure } from "../relay/relay-context.ts";
import { bodyLength, CHUNKED, parseResponseHead } from "../relay/response-head.ts";
import type { Exchange } from "../request/exchange.ts";
import type { BackConnection } from "./back-connection.ts";
import { chunk, CHUNK_END, lastChunk } from "./chunk.ts";
import { trailerLines } from "./field-line.ts";
import { CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM } from "./protocol.ts";
import { Http2Stream } from "./stream.ts";

const NOTHING = Buffer.alloc(0);

export class BackStream extends Http2Stream implements Upstream, Timed {
  deadlineMs = Infinity;
  /** Where its end is counted; the connection's own, taken over by `connected`. */
  counts: { disconnects: number } | null = null;
  begun = false;
  /** The connection has carried others before. */
  reused = false;
  /** A final head has come. */
  headSeen = false;

  readonly #back: BackConnection;
  #exchange: Exchange | null;
  #dechunker: BodyReader | null = null;
  #trailers = "";
  #sentBytes = 0;
  /** Of the response: bytes, or CHUNKED. */
  #length = 0;
  #gotBytes = 0;
  #interim = 0;
  /** The client does not take more: what comes waits, in HTTP/1.1's framing. */
  #paused = false;
  #inbound: Buffer[] | null = null;
  #uncredited = 0;
  #ended = false;

  constructor(connection: BackConnection, exchange: Exchange) {
    super(connection, 0);
    this.#back = connection;
    this.#exchange = exchange;
  }

  /** HEAD has no body to its response. */
  get bodiless(): boolean {
    return this.#exchange?.head.method === "HEAD";
  }

  get blocked(): boolean {
    return this.pendingBytes > 0;
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  /** The connection was made for this exchange. @returns where its end is to be counted */
  connected(): { disconnects: number } | null {
    this.#back.context.handler.connected(this.#exchange!);
    return this.counts;
  }

  begin(): void {
    const exchange = this.#exchange!;
    const { head } = exchange;
    this.id = this.#back.register(this);
    this.sendWindow = this.#back.peerWindowInitial;
    this.begun = true;
    this.#back.context.deadlines.add(this);
    const lines = exchange.upstreamHead;
    const fields = lines.slice(lines.indexOf("\r\n") + 2, -2);
    const { encoder, writer } = this.#back;
    encoder.begin().field(":method", head.method).field(":scheme", "http")
      .field(":authority", fieldValue(fields, "host") ?? head.host).field(":path", head.target)
      .lines(fields).field("te", "trailers");
    writer.headers(this.id, encoder.end(), !head.hasBody);
    if (!head.hasBody) this.ended();
    else if (head.contentLength === CHUNKED) this.#dechunk();
    const first = exchange.takeBody();
    // Reading the body's first bytes can have refused the request.
    if (this.#exchange !== exchange) return;
    if (first !== null) this.#sendBody(exchange, first);
    exchange.client.bodyMayFlow(exchange);
    this.#awaitResponse(exchange);
  }

  #dechunk(): void {
    const dechunker = this.#dechunker = new BodyReader(this.#back.context.limits);
    dechunker.begin(CHUNKED);
    dechunker.onPayload = (bytes, from, to) => void this.sendData(bytes, from, to);
    dechunker.onTrailer = (line) => this.#trailers += `${line}\r\n`;
  }

  sendBody(bytes: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === null || this.closed) return;
    exchange.kept?.add(bytes);
    this.#sendBody(exchange, bytes);
  }

  #sendBody(exchange: Exchange, bytes: Buffer): void {
    if (this.#dechunker !== null) {
      this.#dechunker.feed(bytes, 0);
      if (this.#dechunker.done) this.finish(this.#trailers);
    } else {
      this.sendData(bytes, 0, bytes.length);
      this.#sentBytes += bytes.length;
      if (this.#sentBytes >= exchange.head.contentLength) this.finish();
    }
    if (!this.headSeen) this.#awaitResponse(exchange);
    else this.deadlineMs = this.#latest(exchange, exchange.limits.responseIdleMsMax);
  }

  /** The response's time limit runs from the request's end, and stands still while the body comes. */
  #awaitResponse(exchange: Exchange): void {
    if (this.headSeen) return;
    const { responseWaitMsMax, responseIdleMsMax } = exchange.limits;
    this.deadlineMs = this.#latest(exchange, exchange.requestDone ? responseWaitMsMax : responseIdleMsMax);
  }

  #latest(exchange: Exchange, waitMs: number): number {
    return Math.min(this.#now() + waitMs, exchange.startedMs + exchange.limits.exchangeMsMax);
  }

  get #limits() {
    return this.#exchange?.limits ?? this.#back.context.limits;
  }
  #now(): number {
    return this.#back.context.nowMs();
  }

  override onDrained(): void {
    this.#exchange?.client.upstreamDrained();
  }
  override onLocalDone(): void {}

  shutdown(): void {
    this.finish();
  }

  // ── the response's side ────────────────────────────────────────────────────────────────────────────────────────

  onHead(read: { readonly lines: string } | string, ends: boolean): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    const head = typeof read === "string" ? read : parseResponseHead(read.lines);
    if (typeof head === "string") return this.#fail("bad_response", head);
    if (head.status < 200) {
      if (++this.#interim > this.#limits.interimResponsesMax) {
        this.#back.context.handler.limitMet("interim_responses");
        return this.#fail("bad_response", "more interim responses than allowed");
      }
      return exchange.client.interim(exchange, head);
    }
    this.headSeen = true;
    const length = bodyLength(head, exchange.head.method);
    if (ends && length > 0) return this.#fail("bad_response", "a body is announced and does not come");
    const elsewhere = this.#back.context.handler.received(exchange, head);
    if (elsewhere !== null) {
      this.#release(exchange, CANCEL);
      return elsewhere();
    }
    this.#length = length;
    exchange.responseStarted = true;
    exchange.status = head.status;
    exchange.respondedMs = this.#now();
    this.deadlineMs = this.#latest(exchange, exchange.limits.responseIdleMsMax);
    exchange.sink.startResponse(exchange, head, length);
    if (this.#exchange !== exchange) return;
    this.#give(exchange, NOTHING, 0, 0, 0);
    if (ends) this.onRemoteEnd();
  }

  override onPiece(bytes: Buffer, from: number, to: number, ends: boolean): void {
    const exchange = this.#exchange;
    const size = to - from;
    if (exchange === null) return this.consumed(size);
    if (!this.headSeen) return this.#fail("bad_response", "a body came before its head");
    this.#gotBytes += size;
    this.deadlineMs = this.#latest(exchange, exchange.limits.responseIdleMsMax);
    if (this.#length === CHUNKED) {
      const framed = chunk(bytes, from, to, ends);
      this.#ended ||= ends;
      this.#give(exchange, framed, 0, framed.length, size);
    } else {
      if (this.#gotBytes > this.#length) {
        return this.#fail("bad_response", "the body is longer than announced");
      }
      this.#give(exchange, bytes, from, to, size);
    }
    if (ends && !this.closed) this.onRemoteEnd();
  }

  onTrailers(lines: string | null): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (lines === null) return this.#fail("bad_response", "a trailer is malformed");
    if (this.#length === CHUNKED && !this.#ended) {
      this.#ended = true;
      const last = lastChunk(trailerLines(lines));
      this.#give(exchange, last, 0, last.length, 0);
    }
    if (!this.closed) this.onRemoteEnd();
  }

  override onRemoteEnd(): void {
    const exchange = this.#exchange;
    if (exchange === null) return this.remoteEnded();
    if (!this.headSeen) return this.#fail("bad_response", "the stream ended before a response");
    if (this.#length === CHUNKED && !this.#ended) {
      this.#ended = true;
      this.#give(exchange, CHUNK_END, 0, CHUNK_END.length, 0);
      if (this.#exchange !== exchange) return;
    } else if (this.#length > this.#gotBytes) {
      return this.#fail("reset", "the body is shorter than announced");
    }
    this.remoteDone = true;
    if (this.#inbound === null) this.#done(exchange);
  }

  /** @param size what it counts for in flow control */
  #give(exchange: Exchange, bytes: Buffer, from: number, to: number, size: number): void {
    this.#uncredited += size;
    if (this.#paused) {
      if (from === to) return;
      // A copy: what came may be a small part of a large read. Chunks have been copied already.
      const own = this.#length === CHUNKED ? bytes : Buffer.from(bytes.subarray(from, to));
      (this.#inbound ??= []).push(own);
      return;
    }
    this.#paused = !exchange.sink.body(exchange, bytes, from, to);
    if (!this.#paused) this.#credit();
  }

  #credit(): void {
    const bytes = this.#uncredited;
    this.#uncredited = 0;
    this.consumed(bytes);
  }

  clientDrained(): void {
    const exchange = this.#exchange;
    if (!this.#paused || exchange === null) return;
    this.#paused = false;
    const inbound = this.#inbound;
    this.#inbound = null;
    if (inbound !== null) {
      const bytes = inbound.length === 1 ? inbound[0]! : Buffer.concat(inbound);
      this.#paused = !exchange.sink.body(exchange, bytes, 0, bytes.length);
      if (this.#exchange !== exchange) return;
    }
    if (!this.#paused) this.#credit();
    if (this.remoteDone) this.#done(exchange);
  }

  #done(exchange: Exchange): void {
    // The response is whole; a machine that does not want the rest of the request has its reasons.
    this.#release(exchange, NO_ERROR);
    exchange.sink.endResponse(exchange);
  }

  /** Lets go of the exchange; a stream that has not ended on both sides is reset. */
  #release(exchange: Exchange, error: number): void {
    this.#exchange = null;
    this.#inbound = null;
    this.#dechunker = null;
    exchange.upstream = null;
    this.begun = false;
    this.#back.context.deadlines.remove(this);
    if (this.localDone && this.remoteDone) this.leave();
    else this.reset(error);
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The peer's reset, or the connection's end. */
  override onReset(error: number): void {
    // A response that is whole stays so; what its client has not taken yet still goes out.
    if (this.remoteDone && this.headSeen) return;
    if (this.#back.closed) return this.#failed(this.#back.failure);
    if (error === REFUSED_STREAM) return this.onRefused("the machine refused the stream");
    this.#failed({ kind: "reset", detail: `the machine reset the stream (error ${error})` });
  }

  /** The machine has not looked at the request. */
  onRefused(detail: string): void {
    this.leave();
    this.#failed({ kind: "reset", detail, unseen: true });
  }

  #fail(kind: UpstreamFailure["kind"], detail: string): void {
    this.reset(kind === "bad_response" ? PROTOCOL_ERROR : CANCEL);
    this.#failed({ kind, detail });
  }

  #failed(failure: Omit<UpstreamFailure, "reused">): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#exchange = null;
    this.#inbound = null;
    exchange.upstream = null;
    this.#back.context.deadlines.remove(this);
    if (exchange.responseStarted) {
      exchange.code = `edge.machine_${failure.kind}`;
      exchange.sink.cut(exchange);
    } else this.#back.context.handler.failed(exchange, { ...failure, reused: this.reused });
  }

  onDeadline(): void {
    const exchange = this.#exchange;
    if (exchange === null || !this.#paused) return this.#fail("response_timeout", "no response in time");
    // What lies here has not been taken: that is the client's fault, and not the machine's.
    this.#release(exchange, CANCEL);
    exchange.code = "edge.client_too_slow";
    exchange.sink.cut(exchange);
  }

  abandon(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (this.begun) return this.#release(exchange, CANCEL);
    this.#exchange = null;
    this.leave();
    this.#back.forgetEarly(this);
  }

  onFault(error: unknown): void {
    this.#back.context.handler.fault(error);
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#release(exchange, CANCEL);
    exchange.client.close();
  }
}

/**
 * A request of HTTP/3 and its response: the client's half of an exchange, between Request and Response of the runtime's own
 * server. What those cannot say is not here: interim responses and trailers are dropped, and a response that was cut is
 * left open for ever, because an end would make it look whole.
 */
import { BodyReader } from "../relay/body-reader.ts";
import type { Timed } from "../relay/deadlines.ts";
import type { Downstream } from "../relay/downstream.ts";
import { FieldCursor } from "../relay/field-cursor.ts";
import { Pace } from "../relay/pace.ts";
import { BAD_LENGTH, BODY_TOO_LARGE, type Refusal, REQUEST_TIMEOUT } from "../relay/refusal.ts";
import type { ListenerInfo, RelayContext } from "../relay/relay-context.ts";
import { parseRequestHead, RequestHead } from "../relay/request-head.ts";
import { CHUNKED, type ResponseHead } from "../relay/response-head.ts";
import { Exchange } from "../request/exchange.ts";
import { chunk, CHUNK_END } from "../http2/chunk.ts";
import { Field } from "../http2/hpack-table.ts";
import { RequestFields } from "../http2/request-fields.ts";
import type { Http3Client } from "../runtime/http3-port.ts";

/** What the log says where the client left before its response: nginx's number for it. */
const CLIENT_GONE = 499;
/** Response bytes that wait for the runtime. */
export const WAITING_BYTES_MAX = 262_144;
const FRAMING = new Set(["transfer-encoding", "content-length", "connection", "keep-alive"]);

export class Http3Request implements Downstream, Timed {
  readonly protocol = "3";
  readonly listener: ListenerInfo;
  readonly address: string;
  readonly port: number;
  /** The runtime does not tell; a request for a name without a certificate shows in `host` alone. */
  readonly serverName = null;
  readonly tlsVersion = "TLSv1.3";
  forwardedFields = "";
  logged: Uint8Array | null = null;
  deadlineMs = Infinity;

  readonly #context: RelayContext;
  readonly #request: Request;
  readonly #answer: (response: Response) => void;
  /** The exchange is over. */
  readonly #ended: () => void;
  #exchange: Exchange | null = null;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #reading = false;
  #flowing = false;
  #bodyBytes = 0;
  readonly #pace = new Pace();
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #dechunker: BodyReader | null = null;

  constructor(
    context: RelayContext,
    listener: ListenerInfo,
    request: Request,
    client: Http3Client,
    answer: (response: Response) => void,
    ended: () => void,
  ) {
    this.#context = context;
    this.listener = listener;
    this.#request = request;
    this.address = client.address.startsWith("::ffff:") ? client.address.slice(7) : client.address;
    this.port = client.port;
    this.#answer = answer;
    this.#ended = ended;
  }

  // ── the request's side ─────────────────────────────────────────────────────────────────────────────────────────

  serve(): void {
    const head = this.#head();
    const valid = head instanceof RequestHead;
    const exchange = new Exchange(this, valid ? head : new RequestHead(), this.#context.nowMs());
    exchange.requestDone = this.#request.body === null;
    this.#exchange = exchange;
    this.#request.signal.addEventListener("abort", () => this.#gone(), { once: true });
    if (valid) this.#context.handler.serve(exchange);
    else this.#context.handler.refuse(exchange, head);
  }

  #head(): RequestHead | Refusal {
    const { method, url, headers, body } = this.#request;
    const fields = new RequestFields(this.#context.limits).begin();
    fields.field(new Field(":method", method));
    fields.field(new Field(":scheme", "https"));
    fields.field(new Field(":authority", headers.get("host") ?? ""));
    fields.field(new Field(":path", url.slice(url.indexOf("/", "https://".length))));
    for (const [name, value] of headers) if (name !== "host") fields.field(new Field(name, value));
    const lines = fields.end(body === null);
    return typeof lines === "string" ? parseRequestHead(lines, this.#context.limits) : lines;
  }

  /** The runtime holds what has come, within QUIC's windows. */
  takeBody(): null {
    return null;
  }

  bodyMayFlow(exchange: Exchange): void {
    if (exchange.requestDone) return;
    this.#flowing = true;
    this.#reader ??= this.#request.body!.getReader();
    this.#context.deadlines.add(this);
    this.#read(exchange);
  }

  upstreamDrained(): void {
    if (this.#exchange !== null) this.#read(this.#exchange);
  }

  #read(exchange: Exchange): void {
    if (this.#reading || !this.#flowing || (exchange.upstream?.blocked ?? true)) return;
    this.#reading = true;
    const nowMs = this.#context.nowMs();
    this.deadlineMs = nowMs + exchange.limits.bodyIdleMsMax;
    this.#pace.turnBegins(nowMs);
    this.#reader!.read().then(({ done, value }) => {
      this.#reading = false;
      if (this.#exchange !== exchange) return;
      if (done) this.#bodyEnds(exchange);
      else this.#piece(exchange, Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    }).catch((error) => {
      // The client went in the middle of its body; `abort` says so too.
      if (this.#exchange === exchange) this.#gone();
      else this.#context.handler.fault(error);
    });
  }

  #piece(exchange: Exchange, bytes: Buffer): void {
    const { contentLength } = exchange.head;
    const nowMs = this.#context.nowMs();
    const { bodyBytesPerSecondMin, bodyGraceMsMax } = this.#context.limits;
    this.#bodyBytes += bytes.length;
    this.#pace.moved(bytes.length);
    this.#pace.turnEnds(nowMs);
    if (contentLength !== CHUNKED && this.#pace.below(bodyBytesPerSecondMin, bodyGraceMsMax, nowMs)) {
      return this.#refuse(REQUEST_TIMEOUT);
    }
    if (this.#bodyBytes > exchange.limits.bodyBytesMax) return this.#refuse(BODY_TOO_LARGE);
    if (contentLength !== CHUNKED && this.#bodyBytes > contentLength) return this.#refuse(BAD_LENGTH);
    if (bytes.length > 0) {
      this.#send(exchange, contentLength === CHUNKED ? chunk(bytes, 0, bytes.length, false) : bytes);
    }
    this.#read(exchange);
  }

  #bodyEnds(exchange: Exchange): void {
    const { contentLength } = exchange.head;
    if (contentLength !== CHUNKED && this.#bodyBytes < contentLength) return this.#refuse(BAD_LENGTH);
    this.#flowing = false;
    this.deadlineMs = Infinity;
    exchange.requestDone = true;
    if (contentLength === CHUNKED) this.#send(exchange, CHUNK_END);
  }

  #send(exchange: Exchange, bytes: Buffer): void {
    exchange.bytesIn += bytes.length;
    exchange.bodySent = true;
    const { contentLength } = exchange.head;
    if (contentLength !== CHUNKED && this.#bodyBytes === contentLength) exchange.requestDone = true;
    exchange.upstream?.sendBody(bytes);
  }

  #refuse(why: Refusal): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    if (!exchange.responseStarted) return this.#context.handler.refuse(exchange, why);
    exchange.code = why.code;
    this.#gone();
  }

  onDeadline(): void {
    const exchange = this.#exchange;
    if (exchange === null || exchange.requestDone || (exchange.upstream?.blocked ?? false)) return;
    this.#refuse(REQUEST_TIMEOUT);
  }

  // ── the response's side ────────────────────────────────────────────────────────────────────────────────────────

  interim(): void {}

  startResponse(exchange: Exchange, head: ResponseHead, length: number): void {
    const lines = head.fields + this.#context.handler.responseFields(exchange, head.hasDate);
    const bodiless = length === 0;
    this.#answer(
      new Response(bodiless ? null : this.#body(), { status: head.status, headers: headersOf(lines) }),
    );
    if (length !== CHUNKED) return;
    const dechunker = this.#dechunker = new BodyReader(this.#context.limits);
    dechunker.begin(CHUNKED);
    dechunker.onPayload = (bytes, from, to) => this.#give(exchange, bytes, from, to);
  }

  #body(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#exchange?.upstream?.clientDrained(),
      cancel: () => this.#gone(),
    }, { highWaterMark: WAITING_BYTES_MAX, size: (piece) => piece?.byteLength ?? 0 });
  }

  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean {
    if (from === to) return true;
    if (this.#dechunker !== null) this.#dechunker.feed(bytes.subarray(0, to), from);
    else this.#give(exchange, bytes, from, to);
    return (this.#controller?.desiredSize ?? 1) > 0;
  }

  #give(exchange: Exchange, bytes: Buffer, from: number, to: number): void {
    exchange.bytesOut += to - from;
    this.#controller?.enqueue(bytes.subarray(from, to));
  }

  endResponse(exchange: Exchange): void {
    this.#finished(exchange);
    this.#controller?.close();
    this.#controller = null;
  }

  cut(exchange: Exchange): void {
    this.#finished(exchange);
    this.#context.handler.limitMet("http3_left_open");
  }

  respond(exchange: Exchange, status: number, fields: string, body: Buffer): void {
    const own = exchange.head.method === "HEAD" ? null : body;
    if (own !== null) exchange.bytesOut += own.length;
    this.#finished(exchange);
    this.#answer(
      new Response(own === null ? null : new Uint8Array(own), { status, headers: headersOf(fields) }),
    );
  }

  #finished(exchange: Exchange): void {
    this.#exchange = null;
    this.#flowing = false;
    this.#dechunker = null;
    this.#context.deadlines.remove(this);
    this.#reader?.cancel().catch(() => {}); // the rest of a body that nobody wants
    this.#ended();
    this.#context.handler.finished(exchange);
  }

  // ── tunnels: HTTP/3 has none here, because no request of it has an Upgrade ─────────────────────────────────────

  becomeTunnel(exchange: Exchange): void {
    this.onFault(new Error(`a machine switched protocols for ${exchange.id}, which did not ask for it`));
  }
  tunnelBytes(): boolean {
    return true;
  }
  shutdown(): void {}

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #gone(): void {
    const exchange = this.#exchange;
    this.#controller = null;
    if (exchange === null) return;
    if (!exchange.responseStarted) exchange.status = CLIENT_GONE;
    exchange.code ??= "edge.client_gone";
    const upstream = exchange.upstream;
    exchange.upstream = null;
    upstream?.abandon();
    exchange.waiter?.cancel();
    this.#finished(exchange);
  }

  onFault(error: unknown): void {
    this.#context.handler.fault(error);
    this.close();
  }

  close(): void {
    const begun = this.#exchange?.responseStarted ?? true;
    this.#gone();
    if (!begun) this.#answer(new Response(null, { status: 500 }));
  }
}

function headersOf(lines: string): Headers {
  const headers = new Headers();
  const cursor = new FieldCursor();
  cursor.begin(lines, 0);
  while (cursor.next < lines.length && cursor.advance()) {
    const name = lines.slice(cursor.start, cursor.nameEnd);
    if (!FRAMING.has(name.toLowerCase())) headers.append(name, cursor.value);
  }
  return headers;
}

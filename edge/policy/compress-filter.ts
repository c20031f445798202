/**
 * Compresses one response on its way to the client. It stands between an exchange's two halves and is the other half to
 * each: to the machine's connection the sink that takes the response, to the client's the upstream that it pauses and
 * abandons. That makes backpressure and cancelling the same calls as without it, and it ends with the exchange, however
 * that ends.
 *
 * Memory: input that the encoder has not taken is bounded by stopping the machine's connection (one read of it may be
 * over), output that the client has not taken by pausing the encoder, the encoder itself by its window (`encoder.ts`).
 * What the encoder holds back is flushed after `FLUSH_WAIT_MS`, so that a page that comes slowly still flows.
 */
import { BodyReader } from "../relay/body-reader.ts";
import type { Timed } from "../relay/deadlines.ts";
import type { ResponseSink, Upstream } from "../relay/downstream.ts";
import type { RelayContext } from "../relay/relay-context.ts";
import { CHUNKED, type ResponseHead } from "../relay/response-head.ts";
import type { Exchange } from "../request/exchange.ts";
import type { Coding } from "./accept-encoding.ts";
import { compressedFields } from "./compressible.ts";
import type { PolicyCounts } from "./policy-counts.ts";
import { type Encoder, FLUSH, makeEncoder } from "./encoder.ts";

/** Input given to the encoder and not yet taken; above it the machine's connection pauses. */
export const PENDING_BYTES_MAX = 65_536;
/** How long bytes may stay inside the encoder while no more come. */
export const FLUSH_WAIT_MS = 10;
/** Encoders at a time, for each process: each holds up to about a megabyte. Beyond, responses go out as they are. */
export const ENCODERS_MAX = 256;

const EMPTY = Buffer.alloc(0);
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

export class CompressFilter implements ResponseSink, Upstream, Timed {
  deadlineMs = Infinity;

  readonly #context: RelayContext;
  readonly #exchange: Exchange;
  readonly #coding: Coding;
  readonly #counts: PolicyCounts;
  readonly #encoder: Encoder;
  readonly #reader: BodyReader;
  /** The machine's half; null once it has given all. */
  #machine: Upstream | null;
  #pendingBytes = 0;
  #machinePaused = false;
  #clientBlocked = false;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  /** Puts itself between the exchange's two halves. */
  constructor(context: RelayContext, exchange: Exchange, coding: Coding, counts: PolicyCounts) {
    this.#context = context;
    this.#exchange = exchange;
    this.#coding = coding;
    this.#counts = counts;
    this.#machine = exchange.upstream;
    this.#reader = new BodyReader(context.limits);
    this.#encoder = makeEncoder(coding);
    this.#encoder.on("data", (bytes: Buffer) => this.#guarded(() => this.#compressed(bytes)));
    this.#encoder.on("end", () => this.#guarded(() => this.#ended()));
    this.#encoder.on("error", (error) => this.#guarded(() => this.#failed(error)));
    counts.compressions++;
    exchange.upstream = this;
    exchange.sink = this;
  }

  // ── the machine's side: ResponseSink ───────────────────────────────────────────────────────────────────────────

  startResponse(exchange: Exchange, head: ResponseHead, length: number): void {
    this.#reader.begin(length);
    this.#reader.onPayload = (bytes, from, to) => this.#take(bytes, from, to);
    head.fields = `${compressedFields(head.fields, this.#coding)}Transfer-Encoding: chunked\r\n`;
    head.length = CHUNKED;
    exchange.client.startResponse(exchange, head, CHUNKED);
  }

  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean {
    if (from === to) {
      // The head goes out now; should the client not take it, the encoder will hear of that with its first bytes.
      exchange.client.body(exchange, EMPTY, 0, 0);
      return true;
    }
    this.#reader.feed(to === bytes.length ? bytes : bytes.subarray(0, to), from);
    const flowing = this.#pendingBytes < PENDING_BYTES_MAX;
    this.#machinePaused = !flowing;
    return flowing;
  }

  endResponse(exchange: Exchange): void {
    this.#machine = null;
    // The machine's half has let go; the client's still needs somebody to pause and to abandon.
    exchange.upstream = this;
    this.#limitClient();
    this.#context.deadlines.add(this);
    this.#encoder.end();
  }

  cut(exchange: Exchange): void {
    this.#close();
    exchange.upstream = null;
    exchange.client.cut(exchange);
  }

  // ── the encoder ────────────────────────────────────────────────────────────────────────────────────────────────

  #take(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    if (length === 0 || this.#closed) return;
    this.#pendingBytes += length;
    this.#encoder.write(bytes.subarray(from, to), () => this.#guarded(() => this.#taken(length)));
    this.#flushTimer ??= setTimeout(() => this.#guarded(() => this.#flush()), FLUSH_WAIT_MS);
  }

  #taken(length: number): void {
    this.#pendingBytes -= length;
    if (!this.#machinePaused || this.#pendingBytes >= PENDING_BYTES_MAX / 2) return;
    this.#machinePaused = false;
    this.#machine?.clientDrained();
  }

  #flush(): void {
    this.#flushTimer = null;
    if (this.#machine !== null) this.#encoder.flush(FLUSH[this.#coding]);
  }

  #compressed(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const head = `${bytes.length.toString(16)}\r\n`;
    const chunk = Buffer.allocUnsafe(head.length + bytes.length + 2);
    chunk.write(head, 0, "latin1");
    bytes.copy(chunk, head.length);
    chunk.write("\r\n", head.length + bytes.length, "latin1");
    if (this.#machine === null) this.#limitClient();
    if (this.#exchange.client.body(this.#exchange, chunk, 0, chunk.length)) return;
    this.#clientBlocked = true;
    this.#encoder.pause();
  }

  #ended(): void {
    const exchange = this.#exchange;
    this.#close();
    exchange.upstream = null;
    exchange.client.body(exchange, LAST_CHUNK, 0, LAST_CHUNK.length);
    exchange.client.endResponse(exchange);
  }

  #failed(error: unknown): void {
    const exchange = this.#exchange;
    const machine = this.#machine;
    this.#close();
    exchange.upstream = null;
    machine?.abandon();
    exchange.client.onFault(error);
  }

  // ── the client's side: Upstream ────────────────────────────────────────────────────────────────────────────────

  get begun(): boolean {
    return this.#machine?.begun ?? false;
  }
  get blocked(): boolean {
    return this.#machine?.blocked ?? false;
  }
  sendBody(bytes: Buffer): void {
    this.#machine?.sendBody(bytes);
  }
  shutdown(): void {
    this.#machine?.shutdown();
  }

  clientDrained(): void {
    if (!this.#clientBlocked || this.#closed) return;
    this.#clientBlocked = false;
    if (this.#machine === null) this.#limitClient();
    this.#encoder.resume();
  }

  abandon(): void {
    const machine = this.#machine;
    this.#close();
    machine?.abandon();
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** While the machine's half is there its limit holds; afterwards a client that takes nothing is ours to end. */
  #limitClient(): void {
    this.deadlineMs = this.#context.nowMs() + this.#exchange.limits.responseIdleMsMax;
  }

  onDeadline(): void {
    this.#exchange.code ??= "edge.client_gone";
    this.cut(this.#exchange);
  }

  onFault(error: unknown): void {
    this.#failed(error);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#counts.compressions--;
    this.#machine = null;
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#context.deadlines.remove(this);
    this.#encoder.destroy();
  }

  /** Streams call back from outside of any connection: nothing may be thrown at them, and nothing comes after the end. */
  #guarded(call: () => void): void {
    if (this.#closed) return;
    try {
      call();
    } catch (error) {
      this.#failed(error);
    }
  }
}

/** A connection to a machine that speaks HTTP/2 from its first byte (RFC 9113 section 3.3): the client's end. */
import type { RelayContext, UpstreamFailure } from "../relay/relay-context.ts";
import type { Socket } from "../runtime/socket-port.ts";
import type { BackPool } from "./back-pool.ts";
import type { BackStream } from "./back-stream.ts";
import { CONNECTION_WINDOW_BYTES, Http2Connection } from "./connection.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import {
  NO_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  SETTING_ENABLE_PUSH,
  SETTING_MAX_HEADER_LIST_SIZE,
  SETTINGS,
  WINDOW_BYTES_INITIAL,
  WINDOW_UPDATE,
} from "./protocol.ts";
import { ResponseFields } from "./response-fields.ts";
import type { Http2Stream } from "./stream.ts";
import { TrailerFields } from "./trailer-fields.ts";

/** What one connection carries at once, where its machine allows as much (RFC 9113 section 6.5.2 recommends to). */
const STREAMS_MAX = 100;
/** Streams are numbered once; a connection that comes near the last number is replaced. */
const STREAM_ID_LEAVING = 0x4000_0000;

export class BackConnection extends Http2Connection {
  /** Where its end is counted, once it stands. */
  countsEnd: { disconnects: number } | null = null;
  readonly #pool: BackPool;
  readonly #fields: ResponseFields;
  readonly #trailers: TrailerFields;
  /** Streams that came before the connection stood. */
  #early: BackStream[] = [];
  #nextId = 1;
  #headersOf: BackStream | null = null;
  #behindBody = false;
  #standing = false;
  #failure: UpstreamFailure["kind"] = "reset";
  #detail = "the connection to the machine was reset";

  constructor(context: RelayContext, pool: BackPool) {
    super(context);
    this.#pool = pool;
    this.#fields = new ResponseFields(context.limits);
    this.#trailers = new TrailerFields(context.limits);
  }

  get hasRoom(): boolean {
    const max = Math.min(STREAMS_MAX, this.peerStreamsMax);
    return !this.closed && !this.leaving && this.streams.size + this.#early.length < max;
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────────────

  connect(address: string, port: number, waitMs: number): void {
    this.deadlineMs = this.context.nowMs() + waitMs;
    this.context.deadlines.add(this);
    this.context.sockets.connect({ address, port }, this);
  }

  onOpen(socket: Socket): void {
    this.opened(socket);
    if (this.closed) return socket.close();
    this.#standing = true;
    this.deadlineMs = Infinity;
    const settings = Buffer.alloc(12);
    settings.writeUInt16BE(SETTING_ENABLE_PUSH, 0);
    settings.writeUInt16BE(SETTING_MAX_HEADER_LIST_SIZE, 6);
    settings.writeUInt32BE(this.context.limits.headBytesMax, 8);
    this.outbox.writeLatin1(PREFACE);
    this.writer.frame(SETTINGS, 0, 0, settings);
    this.writer.number(WINDOW_UPDATE, 0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES_INITIAL);
    const early = this.#early;
    this.#early = [];
    early.forEach((stream, i) => {
      if (stream.closed) return;
      if (i === 0) this.countsEnd = stream.connected();
      stream.begin();
    });
    this.#rest();
  }

  onConnectError(code: string): void {
    if (this.closed) return;
    this.#failure = code === "ETIMEDOUT" ? "connect_timeout" : "refused";
    this.#detail = code;
    this.close();
  }

  onDeadline(): void {
    if (!this.#standing) {
      this.#failure = "connect_timeout";
      this.#detail = "no answer to the connection attempt";
      return this.close();
    }
    if (this.closed || this.closing) return this.close();
    if (this.streams.size > 0) return;
    this.leave();
  }

  protected override preface(): number {
    return 0;
  }
  protected override readEnds(): void {}
  protected override pingAnswered(): void {}
  protected override settingsChanged(): void {}

  /** Without a request it waits a while for the next. */
  #rest(): void {
    if (this.streams.size > 0 || this.#early.length > 0 || this.closed || this.closing) return;
    if (this.leaving) return this.closeWhenFlushed();
    this.deadlineMs = this.context.nowMs() + this.context.limits.upstreamIdleMsMax;
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────

  add(stream: BackStream): void {
    if (!this.#standing) return void this.#early.push(stream);
    this.deadlineMs = Infinity;
    stream.reused = true;
    stream.begin();
  }

  /** A number for a stream that begins. */
  register(stream: BackStream): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.streams.set(id, stream);
    if (id > STREAM_ID_LEAVING) this.#retire();
    return id;
  }

  protected override sinkFor(streamId: number): FieldSink {
    this.#headersOf = this.streams.get(streamId) as BackStream | undefined ?? null;
    this.#behindBody = this.#headersOf?.headSeen ?? false;
    return this.#behindBody ? this.#trailers.begin() : this.#fields.begin();
  }

  protected override headersEnd(streamId: number, endStream: boolean): number {
    const stream = this.#headersOf;
    if (stream === null) return this.unknownStream(streamId);
    if (!this.#behindBody) stream.onHead(this.#fields.end(endStream, stream.bodiless), endStream);
    else if (endStream) stream.onTrailers(this.#trailers.lines);
    else return PROTOCOL_ERROR;
    return 0;
  }

  protected override unknownStream(streamId: number): number {
    return streamId % 2 === 1 && streamId < this.#nextId ? 0 : PROTOCOL_ERROR;
  }

  protected override streamGone(_stream: Http2Stream): void {
    this.#rest();
  }

  /** A stream gave up before the connection stood. */
  forgetEarly(stream: BackStream): void {
    const at = this.#early.indexOf(stream);
    if (at !== -1) this.#early.splice(at, 1);
    if (this.#early.length === 0 && !this.#standing) this.close();
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get lastPeerStream(): number {
    return 0;
  }

  #retire(): void {
    this.leaving = true;
    this.#pool.forget(this);
  }

  /** No more requests; it ends with its last one. */
  leave(): void {
    this.#retire();
    if (this.streams.size > 0 || this.#early.length > 0 || this.closed) return;
    if (!this.#standing) return this.close();
    this.goAway(0, NO_ERROR);
    this.closeWhenFlushed();
  }

  /** Streams above the number have not been looked at, and may be sent again (section 6.8). */
  protected override peerLeaves(lastStreamId: number): void {
    this.#retire();
    for (const stream of [...this.streams.values()] as BackStream[]) {
      if (stream.id > lastStreamId) stream.onRefused("the machine closes its connection");
    }
    this.#rest();
  }

  override fail(error: number): void {
    this.#failure = "bad_response";
    this.#detail = `the machine breaks HTTP/2 (error ${error}), or does not speak it`;
    super.fail(error);
  }

  protected override connectionGone(): void {
    this.#pool.forget(this);
    if (this.socket === null) this.context.deadlines.remove(this);
    const early = this.#early;
    this.#early = [];
    for (const stream of early) stream.onReset(NO_ERROR);
  }

  /** Why streams end that the connection takes with it. */
  get failure(): Pick<UpstreamFailure, "kind" | "detail"> {
    return { kind: this.#failure, detail: this.#detail };
  }

  override onClose(): void {
    super.onClose();
    this.context.deadlines.remove(this);
    if (this.countsEnd !== null) this.countsEnd.disconnects++;
  }
}

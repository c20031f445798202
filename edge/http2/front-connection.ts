/**
 * A client's connection of HTTP/2: the server's end. Each stream is an exchange (`front-stream.ts`). Requests are bounded in
 * number and size here; what a flood of other frames may cost is bounded in `connection.ts`.
 */
import { HEAD_TOO_LARGE, type Refusal } from "../relay/refusal.ts";
import type { Client, ListenerInfo, RelayContext } from "../relay/relay-context.ts";
import { parseRequestHead, RequestHead } from "../relay/request-head.ts";
import type { Socket } from "../runtime/socket-port.ts";
import { CONNECTION_WINDOW_BYTES, Http2Connection } from "./connection.ts";
import { FrontStream } from "./front-stream.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import {
  ENHANCE_YOUR_CALM,
  NO_ERROR,
  PING,
  PREFACE,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  SETTING_ENABLE_CONNECT_PROTOCOL,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_HEADER_LIST_SIZE,
  SETTINGS,
  STREAM_ID_MAX,
  WINDOW_BYTES_INITIAL,
  WINDOW_UPDATE,
} from "./protocol.ts";
import { RequestFields } from "./request-fields.ts";
import type { Http2Stream } from "./stream.ts";
import { TrailerFields } from "./trailer-fields.ts";
import { handshake, UNKNOWN_PROTOCOL } from "./websocket.ts";

/** Open streams of one client's connection. */
export const STREAMS_MAX = 128;

const preface = Buffer.from(PREFACE, "latin1");
const PING_OF_DRAIN = Buffer.from("draining");

export class FrontConnection extends Http2Connection implements Client {
  readonly listener: ListenerInfo;
  readonly serverName: string | null;
  tlsVersion: string | null = null;
  address = "";
  port = 0;
  /** What requests of one client share; see `Downstream`. */
  forwardedFields = "";
  logged: Uint8Array | null = null;
  readonly #fields: RequestFields;
  readonly #trailers: TrailerFields;
  /** Streams with a body begin when their read has been worked through: head and body then leave in one write. */
  readonly #begun: FrontStream[] = [];
  #prefaceBytes = 0;
  #lastStreamId = 0;
  #trailersOf: FrontStream | null = null;
  #late = false;
  #draining: "no" | "announced" | "last" = "no";

  constructor(context: RelayContext, listener: ListenerInfo, serverName: string | null = null) {
    super(context);
    this.listener = listener;
    this.serverName = serverName;
    this.#fields = new RequestFields(context.limits);
    this.#trailers = new TrailerFields(context.limits);
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────────────

  onOpen(socket: Socket): void {
    this.opened(socket);
    const address = socket.remoteAddress;
    // An IPv4 client on a dual-stack socket is shown as IPv4.
    this.address = address.startsWith("::ffff:") ? address.slice(7) : address;
    this.port = socket.remotePort;
    const { clients, deadlines, limits } = this.context;
    clients.add(this);
    deadlines.add(this);
    this.deadlineMs = this.context.nowMs() + limits.headWaitMsMax;
    this.writer.frame(SETTINGS, 0, 0, settings(limits.headBytesMax));
    this.writer.number(WINDOW_UPDATE, 0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES_INITIAL);
    const refused = clients.size > limits.clientConnectionsMax;
    this.context.handler.clientOpened(this.listener, refused);
    if (refused) this.fail(ENHANCE_YOUR_CALM);
  }

  onConnectError(): void {} // only sockets made by connect() have it

  protected override preface(bytes: Buffer): number {
    if (this.#prefaceBytes === preface.length) return 0;
    const take = Math.min(preface.length - this.#prefaceBytes, bytes.length);
    if (bytes.compare(preface, this.#prefaceBytes, this.#prefaceBytes + take, 0, take) !== 0) {
      this.fail(PROTOCOL_ERROR);
      return -1;
    }
    this.#prefaceBytes += take;
    return take;
  }

  override onClose(): void {
    super.onClose();
    this.context.clients.delete(this);
    this.context.deadlines.remove(this);
    this.context.handler.clientClosed(this.listener);
  }

  onDeadline(): void {
    if (this.closed || this.closing) return this.close();
    if (this.streams.size > 0 && !this.inHeaders && this.#draining !== "announced") return;
    if (this.#draining === "announced") return this.#sayLast();
    // Between requests, in the middle of a head, or before the first word.
    this.goAway(this.#lastStreamId, NO_ERROR);
    this.closeWhenFlushed();
  }

  /** What may take how long from here on. */
  #setDeadline(): void {
    const { headWaitMsMax, clientIdleMsMax, responseIdleMsMax } = this.context.limits;
    if (this.closed || this.closing || this.#draining === "announced") return;
    let waitMs = Infinity;
    if (this.inHeaders || !this.peerReady) waitMs = headWaitMsMax;
    else if (this.streams.size === 0) waitMs = this.blocked ? responseIdleMsMax : clientIdleMsMax;
    // The limit of a head runs from its first byte.
    if (waitMs === headWaitMsMax && this.#headTimed) return;
    this.#headTimed = waitMs === headWaitMsMax;
    this.deadlineMs = this.context.nowMs() + waitMs;
  }
  #headTimed = true;

  protected override readEnds(): void {
    const begun = this.#begun;
    for (let i = 0; i < begun.length; i++) begun[i]!.serve();
    begun.length = 0;
    this.#setDeadline();
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get lastPeerStream(): number {
    return this.#lastStreamId;
  }

  protected override sinkFor(streamId: number, endStream: boolean): FieldSink {
    const stream = this.streams.get(streamId);
    this.#trailersOf = stream === undefined ? null : stream as FrontStream;
    // Trailers must end their stream (RFC 9113 section 8.1).
    this.#late = stream !== undefined && (stream.remoteDone || !endStream);
    return stream === undefined ? this.#fields.begin() : this.#trailers.begin();
  }

  protected override headersEnd(streamId: number, endStream: boolean): number {
    if (this.#trailersOf !== null) {
      if (this.#late) return PROTOCOL_ERROR;
      this.#trailersOf.trailers(this.#trailers.lines);
      return 0;
    }
    if (streamId % 2 === 0) return PROTOCOL_ERROR;
    // Of a stream that has ended here while they were under way.
    if (streamId <= this.#lastStreamId) return this.countReset();
    if (this.#draining === "last") return 0; // above the number that GOAWAY named: the client sends it elsewhere
    this.#lastStreamId = streamId;
    if (this.streams.size >= STREAMS_MAX) {
      this.resetStream(streamId, REFUSED_STREAM);
      return this.countReset();
    }
    const lines = this.#fields.end(endStream);
    if (typeof lines !== "string") return this.#refuse(streamId, endStream, lines);
    let text = lines;
    let key: string | null = null;
    if (this.#fields.protocol !== null) {
      const upgrade = handshake(this.#fields.protocol);
      if (upgrade === null) return this.#refuse(streamId, endStream, UNKNOWN_PROTOCOL);
      text += upgrade.lines;
      key = upgrade.key;
    }
    const head = parseRequestHead(text, this.context.limits);
    if (!(head instanceof RequestHead)) return this.#refuse(streamId, endStream, head);
    const stream = new FrontStream(this, streamId, head, endStream, key);
    this.streams.set(streamId, stream);
    if (endStream) stream.serve();
    else this.#begun.push(stream);
    return 0;
  }

  /** A malformed request ends its stream (RFC 9113 section 8.1.1), after an answer that says why. */
  #refuse(streamId: number, endStream: boolean, why: Refusal): number {
    const stream = new FrontStream(this, streamId, new RequestHead(), endStream, null);
    this.streams.set(streamId, stream);
    stream.refuse(why, why !== HEAD_TOO_LARGE);
    return this.countReset();
  }

  protected override unknownStream(streamId: number): number {
    return streamId % 2 === 1 && streamId <= this.#lastStreamId ? 0 : PROTOCOL_ERROR;
  }

  protected override streamGone(_stream: Http2Stream): void {
    if (this.streams.size > 0 || this.closed) return;
    if (this.leaving) this.closeWhenFlushed();
    else this.#setDeadline();
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get busy(): boolean {
    return this.streams.size > 0 || this.writer.bytes > 0;
  }

  /** The edge stops: says so, and lets what the client had sent by then be answered (RFC 9113 section 6.8). */
  closeIfIdle(): void {
    if (this.#draining !== "no" || this.closed) return;
    this.#draining = "announced";
    this.goAway(STREAM_ID_MAX, NO_ERROR);
    this.writer.frame(PING, 0, 0, PING_OF_DRAIN);
    this.writer.flush();
    this.deadlineMs = this.context.nowMs() + this.context.limits.halfClosedWaitMsMax;
  }

  protected override pingAnswered(): void {
    if (this.#draining === "announced") this.#sayLast();
  }

  #sayLast(): void {
    this.#draining = "last";
    this.leaving = true;
    this.deadlineMs = Infinity;
    this.goAway(this.#lastStreamId, NO_ERROR);
    if (this.streams.size === 0) this.closeWhenFlushed();
  }

  protected override peerLeaves(): void {
    if (this.streams.size === 0) this.closeWhenFlushed();
  }

  protected override settingsChanged(): void {}
  protected override connectionGone(): void {}
}

function settings(headBytesMax: number): Buffer {
  const pairs: [number, number][] = [
    [SETTING_MAX_CONCURRENT_STREAMS, STREAMS_MAX],
    [SETTING_MAX_HEADER_LIST_SIZE, headBytesMax],
    [SETTING_ENABLE_CONNECT_PROTOCOL, 1],
  ];
  const payload = Buffer.alloc(pairs.length * 6);
  pairs.forEach(([name, value], i) => {
    payload.writeUInt16BE(name, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return payload;
}

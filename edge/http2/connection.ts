/**
 * A connection of HTTP/2 as both ends have it (RFC 9113): frames, settings, header compression, flow control, and the bounds on
 * what the peer may ask for. `front-connection.ts` is the server's end, towards clients; `back-connection.ts` the
 * client's end, towards machines. Written here and not taken from `node:http2`: deploy/notes/0005 says what was measured.
 */
import type { Timed } from "../relay/deadlines.ts";
import { Outbox } from "../relay/outbox.ts";
import type { RelayContext } from "../relay/relay-context.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { FloodGuard, type FloodKind } from "./flood-guard.ts";
import { type FrameEvents, FrameReader } from "./frame-reader.ts";
import { floodKind, frameError } from "./frame-rules.ts";
import { FrameWriter } from "./frame-writer.ts";
import { HeaderBlock } from "./header-block.ts";
import { type FieldSink, HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import {
  ACK,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_BYTES_MAX,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HAS_PRIORITY,
  HEADERS,
  INTERNAL_ERROR,
  NO_ERROR,
  PING,
  PROTOCOL_ERROR,
  RST_STREAM,
  SETTING_ENABLE_PUSH,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  SETTINGS,
  STREAM_CLOSED,
  WINDOW_BYTES_INITIAL,
  WINDOW_BYTES_MAX,
  WINDOW_UPDATE,
} from "./protocol.ts";
import type { Http2Stream } from "./stream.ts";

/** What all streams together may have under way towards this side. */
export const CONNECTION_WINDOW_BYTES = 1_048_576;
/** What may wait because the peer does not read: past it this side reads no more; past twice that it closes. */
export const UNSENT_BYTES_MAX = 262_144;
/** Response bytes that wait for the peer's windows, of all streams. 128 streams with one read of a machine each stay below. */
export const WAITING_BYTES_MAX = 67_108_864;
/** Credits a peer earns with each DATA frame sent to it: some give their windows back in small pieces. */
const WINDOW_UPDATES_PER_DATA = 16;
const CONNECTION_CREDIT_BYTES_MIN = 131_072;

export abstract class Http2Connection implements SocketEvents, Timed, FrameEvents {
  deadlineMs = Infinity;
  readonly context: RelayContext;
  readonly outbox = new Outbox();
  readonly writer: FrameWriter;
  readonly encoder = new HpackEncoder();
  readonly streams = new Map<number, Http2Stream>();
  sendWindow = WINDOW_BYTES_INITIAL;
  peerWindowInitial = WINDOW_BYTES_INITIAL;
  peerStreamsMax = Infinity;
  peerReady = false;
  closed = false;
  /** No more streams: GOAWAY was sent or received. */
  leaving = false;

  protected socket: Socket | null = null;
  readonly #decoder = new HpackDecoder();
  readonly #reader = new FrameReader(this);
  readonly #guard: FloodGuard;
  readonly #waiting = new Set<Http2Stream>();
  #waitingBytes = 0;
  #recvWindow = CONNECTION_WINDOW_BYTES;
  #credit = 0;
  readonly #block: HeaderBlock;
  #dataStream: Http2Stream | null = null;
  #reading = true;
  #closeAfterFlush = false;
  /** Bytes dropped since this side has half-closed; -1 before. */
  #lingerBytes = -1;
  #pumping = false;

  constructor(context: RelayContext) {
    this.context = context;
    this.#guard = new FloodGuard(context.nowMs());
    this.#block = new HeaderBlock(context.limits.headBytesMax);
    this.writer = new FrameWriter(this.outbox, () => this.#flushed());
  }

  // ── what the two ends do differently ───────────────────────────────────────────────────────────────────────────

  /** Bytes that come before the first frame. @returns the index behind them; -1: closed */
  protected abstract preface(bytes: Buffer): number;
  /** Where the fields of a block go that begins now. */
  protected abstract sinkFor(streamId: number, endStream: boolean): FieldSink;
  /** The block has been read into that sink. @returns 0, or the error that ends the connection */
  protected abstract headersEnd(streamId: number, endStream: boolean): number;
  /** DATA or a header block for a stream that is not there. @returns 0 where it was there once */
  protected abstract unknownStream(streamId: number): number;
  protected abstract peerLeaves(lastStreamId: number, error: number): void;
  protected abstract pingAnswered(): void;
  protected abstract settingsChanged(): void;
  /** A whole read has been worked through. */
  protected abstract readEnds(): void;
  /** A stream is gone. */
  protected abstract streamGone(stream: Http2Stream): void;
  protected abstract connectionGone(): void;

  // ── the socket's side ──────────────────────────────────────────────────────────────────────────────────────────

  abstract onOpen(socket: Socket): void;
  abstract onConnectError(code: string): void;
  abstract onDeadline(): void;

  protected opened(socket: Socket): void {
    this.socket = socket;
    this.outbox.attach(socket);
  }

  onData(bytes: Buffer): void {
    if (this.#lingerBytes !== -1) {
      this.#lingerBytes += bytes.length;
      if (this.#lingerBytes > this.context.limits.lingerBytesMax) this.close();
      return;
    }
    if (this.closed || this.#closeAfterFlush) return;
    const from = this.preface(bytes);
    if (from === -1) return;
    const error = this.#reader.feed(bytes, from);
    if (error !== 0) return this.fail(error);
    if (!this.closed) this.readEnds();
  }

  onDrain(): void {
    const flushed = this.outbox.flush();
    this.#updateReading();
    if (!flushed) return;
    if (this.#closeAfterFlush) return this.#linger();
    this.#pump();
  }

  onEnd(): void {
    // Half-closed connections have no use here: nothing could be answered to WINDOW_UPDATE frames that cannot come.
    this.close();
  }

  onClose(): void {
    this.socket = null;
    this.#die();
    this.outbox.detach();
  }

  onFault(error: unknown): void {
    this.context.handler.fault(error);
    this.fail(INTERNAL_ERROR);
  }

  /** In the middle of a header block. */
  protected get inHeaders(): boolean {
    return this.#block.streamId !== 0;
  }

  protected get closing(): boolean {
    return this.#closeAfterFlush;
  }

  /** The peer has not taken what it was given. */
  get blocked(): boolean {
    return !this.outbox.empty;
  }

  #flushed(): void {
    if (this.writer.bytes > UNSENT_BYTES_MAX * 2) {
      this.context.handler.limitMet("http2_unread");
      return this.close();
    }
    this.#updateReading();
    if (this.#closeAfterFlush && this.outbox.empty) this.#linger();
  }

  #updateReading(): void {
    const want = this.outbox.bytes <= UNSENT_BYTES_MAX;
    if (want === this.#reading || this.socket === null) return;
    this.#reading = want;
    if (want) this.socket.resume();
    else this.socket.pause();
  }

  // ── frames in ──────────────────────────────────────────────────────────────────────────────────────────────────

  frameBegins(type: number, flags: number, streamId: number, length: number): number {
    const block = this.#block;
    if (block.streamId !== 0 && (type !== CONTINUATION || streamId !== block.streamId)) return PROTOCOL_ERROR;
    if (!this.peerReady && (type !== SETTINGS || (flags & ACK) !== 0)) return PROTOCOL_ERROR;
    const error = frameError(type, flags, streamId, length);
    if (error !== 0) return error;
    if (type === DATA) return this.#dataBegins(flags, streamId, length);
    if (type === CONTINUATION) {
      if (block.streamId === 0) return PROTOCOL_ERROR;
      return block.mayGrow(length) ? 0 : this.#flood("continuation");
    }
    const kind = floodKind(type);
    return kind === null ? 0 : this.#take(kind);
  }

  frame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): number {
    switch (type) {
      case HEADERS: {
        const start = (flags & HAS_PRIORITY) === 0 ? from : from + 5;
        if (start > to) return FRAME_SIZE_ERROR;
        if ((flags & END_HEADERS) !== 0) return this.#headers(streamId, flags, bytes, start, to);
        this.#block.begin(streamId, flags);
        this.#block.add(bytes, start, to);
        return 0;
      }
      case CONTINUATION: {
        const block = this.#block;
        block.add(bytes, from, to);
        if ((flags & END_HEADERS) === 0) return 0;
        const error = this.#headers(streamId, block.flags, block.bytes, 0, block.length);
        block.end();
        return error;
      }
      case RST_STREAM:
        return this.#resetReceived(streamId, bytes.readUInt32BE(from));
      case SETTINGS:
        return this.#settings(flags, bytes, from, to);
      case PING:
        if ((flags & ACK) !== 0) this.pingAnswered();
        else this.writer.frame(PING, ACK, 0, bytes.subarray(from, to));
        return 0;
      case GOAWAY:
        this.leaving = true;
        this.peerLeaves(bytes.readUInt32BE(from) & 0x7fff_ffff, bytes.readUInt32BE(from + 4));
        return 0;
      case WINDOW_UPDATE:
        return this.#windowUpdate(streamId, bytes.readUInt32BE(from) & 0x7fff_ffff);
      default:
        return 0;
    }
  }

  #headers(streamId: number, flags: number, block: Buffer, from: number, to: number): number {
    const endStream = (flags & END_STREAM) !== 0;
    const sink = this.sinkFor(streamId, endStream);
    if (!this.#decoder.decode(block, from, to, sink)) return COMPRESSION_ERROR;
    return this.headersEnd(streamId, endStream);
  }

  #dataBegins(flags: number, streamId: number, length: number): number {
    this.#recvWindow -= length;
    if (this.#recvWindow < 0) return FLOW_CONTROL_ERROR;
    if (length === 0 && (flags & END_STREAM) === 0) {
      const error = this.#take("empty_data");
      if (error !== 0) return error;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined || stream.remoteDone) {
      this.#dataStream = null;
      this.consumed(length);
      if (stream === undefined) {
        const error = this.unknownStream(streamId);
        return error === 0 ? this.#take("ignored") : error;
      }
      return STREAM_CLOSED;
    }
    if (!stream.arrives(length)) return FLOW_CONTROL_ERROR;
    this.#dataStream = stream;
    return 0;
  }

  dataPiece(_streamId: number, bytes: Buffer, from: number, to: number, ends: boolean): void {
    const stream = this.#dataStream;
    if (stream !== null && !stream.closed) stream.onPiece(bytes, from, to, ends);
  }

  dataEnds(flags: number, _streamId: number, overhead: number): number {
    if (overhead === -1) return PROTOCOL_ERROR;
    const stream = this.#dataStream;
    if (stream === null || stream.closed) return 0;
    stream.consumed(overhead);
    if ((flags & END_STREAM) !== 0 && !stream.remoteDone) stream.onRemoteEnd();
    return 0;
  }

  #resetReceived(streamId: number, error: number): number {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      const unknown = this.unknownStream(streamId);
      return unknown === 0 ? this.#take("ignored") : unknown;
    }
    stream.leave();
    stream.onReset(error);
    return this.#take("reset");
  }

  #settings(flags: number, bytes: Buffer, from: number, to: number): number {
    if ((flags & ACK) !== 0) return 0;
    for (let at = from; at < to; at += 6) {
      const value = bytes.readUInt32BE(at + 2);
      switch (bytes.readUInt16BE(at)) {
        case SETTING_HEADER_TABLE_SIZE:
          this.encoder.setCapacity(value);
          break;
        case SETTING_ENABLE_PUSH:
          if (value > 1) return PROTOCOL_ERROR;
          break;
        case SETTING_MAX_CONCURRENT_STREAMS:
          this.peerStreamsMax = value;
          break;
        case SETTING_INITIAL_WINDOW_SIZE: {
          if (value > WINDOW_BYTES_MAX) return FLOW_CONTROL_ERROR;
          const change = value - this.peerWindowInitial;
          this.peerWindowInitial = value;
          for (const stream of this.streams.values()) if (!stream.widen(change)) return FLOW_CONTROL_ERROR;
          break;
        }
        case SETTING_MAX_FRAME_SIZE:
          if (value < FRAME_BYTES_MAX || value > 0xff_ffff) return PROTOCOL_ERROR;
          break;
      }
    }
    this.peerReady = true;
    this.writer.frame(SETTINGS, ACK, 0, null);
    this.settingsChanged();
    this.#pump();
    return 0;
  }

  #windowUpdate(streamId: number, bytes: number): number {
    if (streamId === 0) {
      this.sendWindow += bytes;
      if (bytes === 0) return PROTOCOL_ERROR;
      if (this.sendWindow > WINDOW_BYTES_MAX) return FLOW_CONTROL_ERROR;
      this.#pump();
      return 0;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.unknownStream(streamId);
    if (bytes === 0 || !stream.widen(bytes)) {
      stream.reset(bytes === 0 ? PROTOCOL_ERROR : FLOW_CONTROL_ERROR);
      stream.onReset(PROTOCOL_ERROR);
      return this.#take("reset");
    }
    if (this.#waiting.has(stream)) this.#pump();
    return 0;
  }

  // ── frames out ─────────────────────────────────────────────────────────────────────────────────────────────────

  sendData(streamId: number, bytes: Buffer, from: number, to: number): void {
    this.sendWindow -= to - from;
    this.writer.data(streamId, bytes, from, to);
    this.#guard.earn("window_update", WINDOW_UPDATES_PER_DATA);
    // Some measure a connection with a ping behind each DATA frame.
    this.#guard.earn("ping", 1);
  }

  sendTrailers(streamId: number, trailers: string): void {
    this.writer.headers(streamId, this.encoder.begin().lines(trailers).end(), true);
  }

  /** What was received has been passed on, or dropped. */
  consumed(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < CONNECTION_CREDIT_BYTES_MIN || this.closed) return;
    this.writer.number(WINDOW_UPDATE, 0, this.#credit);
    this.#recvWindow += this.#credit;
    this.#credit = 0;
  }

  /** A stream has bytes that its peer's window, or the socket, does not let out. */
  wait(stream: Http2Stream, bytes: number): void {
    this.#waiting.add(stream);
    this.#waitingBytes += bytes;
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.context.handler.limitMet("http2_unread");
      this.fail(ENHANCE_YOUR_CALM);
    }
  }
  waited(bytes: number): void {
    this.#waitingBytes -= bytes;
  }

  /** A frame of each stream that waits, in turn, as long as any can go on. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    let moved = true;
    while (moved && !this.blocked && this.sendWindow > 0 && this.#waiting.size > 0) {
      moved = false;
      for (const stream of this.#waiting) {
        if (stream.advance()) moved = true;
        else if (stream.pendingBytes === 0) this.#waiting.delete(stream);
        if (this.blocked) break;
      }
    }
    this.#pumping = false;
  }

  forget(stream: Http2Stream, pendingBytes: number): void {
    this.#waiting.delete(stream);
    this.#waitingBytes -= pendingBytes;
    if (this.#dataStream === stream) this.#dataStream = null;
    if (this.streams.delete(stream.id)) this.streamGone(stream);
  }

  resetStream(streamId: number, error: number): void {
    if (!this.closed) this.writer.number(RST_STREAM, streamId, error);
  }

  /** Counts a mistake of the peer's that costs one of its streams. @returns 0, or the error that ends the connection */
  countReset(): number {
    return this.#take("reset");
  }

  #take(kind: FloodKind): number {
    return this.#guard.take(kind, this.context.nowMs()) ? 0 : this.#flood(kind);
  }

  #flood(kind: FloodKind | "continuation"): number {
    this.context.handler.limitMet(`http2_${kind}`);
    return ENHANCE_YOUR_CALM;
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  goAway(lastStreamId: number, error: number): void {
    const payload = Buffer.allocUnsafe(8);
    payload.writeUInt32BE(lastStreamId, 0);
    payload.writeUInt32BE(error, 4);
    this.writer.frame(GOAWAY, 0, 0, payload);
  }

  /** The last stream of the peer's that this side has begun with. */
  protected abstract get lastPeerStream(): number;

  /** The connection cannot go on. */
  fail(error: number): void {
    if (this.closed || this.#closeAfterFlush) return;
    this.goAway(this.lastPeerStream, error);
    this.#die();
    this.closeWhenFlushed();
  }

  closeWhenFlushed(): void {
    this.#closeAfterFlush = true;
    this.#reader.stopped = true;
    this.writer.flush();
    this.deadlineMs = this.context.nowMs() + this.context.limits.lingerMsMax;
    if (this.outbox.empty) this.#linger();
  }

  /** Half-closes, then reads on for a while: a reset would destroy what is still under way. */
  #linger(): void {
    if (this.#lingerBytes !== -1) return;
    this.#lingerBytes = 0;
    this.socket?.shutdown();
    this.#updateReading();
  }

  close(): void {
    this.writer.flush();
    this.#die();
    this.socket?.close();
  }

  /** All streams end; nothing more is read. */
  #die(): void {
    if (this.closed) return;
    this.closed = this.leaving = true;
    this.#reader.stopped = true;
    for (const stream of [...this.streams.values()]) {
      stream.leave();
      stream.onReset(NO_ERROR);
    }
    this.connectionGone();
  }
}

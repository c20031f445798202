/**
 * One stream of an HTTP/2 connection, whichever side opened it: what waits to be sent, and the two windows of flow control
 * (RFC 9113 section 5.2). Bytes received are given back to the peer's window only once they have been passed on, so that
 * a slow reader behind this side holds its writer and nothing else.
 */
import type { Http2Connection } from "./connection.ts";
import { FRAME_BYTES_MAX, WINDOW_BYTES_INITIAL, WINDOW_BYTES_MAX, WINDOW_UPDATE } from "./protocol.ts";

/** What a body that flows may have under way. One that stalls from the start holds only the initial window. */
export const STREAM_WINDOW_BYTES = 262_144;
/** Smaller credits wait for others. */
const CREDIT_BYTES_MIN = 16_384;

export abstract class Http2Stream {
  readonly connection: Http2Connection;
  id: number;
  sendWindow: number;
  recvWindow = WINDOW_BYTES_INITIAL;
  /** This side has sent its end, or will not send any more. */
  localDone = false;
  remoteDone = false;
  closed = false;
  #recvLimit = WINDOW_BYTES_INITIAL;
  #credit = 0;
  /** Received and not passed on yet. */
  #held = 0;
  #pending: Buffer[] | null = null;
  pendingBytes = 0;
  #ending = false;
  #trailers = "";

  constructor(connection: Http2Connection, id: number) {
    this.connection = connection;
    this.id = id;
    this.sendWindow = connection.peerWindowInitial;
  }

  /** A piece of DATA. `bytes` lives beyond the call, but may be part of something much larger. */
  abstract onPiece(bytes: Buffer, from: number, to: number, ends: boolean): void;
  /** The peer's end, where `onPiece` has not told it. */
  abstract onRemoteEnd(): void;
  /** @param error of the peer's RST_STREAM, or why the connection ended */
  abstract onReset(error: number): void;
  /** All that was given to `sendData` has gone out. */
  abstract onDrained(): void;
  /** The stream's own end has gone out. */
  abstract onLocalDone(): void;

  // ── sending ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns false where some of it waits: no more before `onDrained` */
  sendData(bytes: Buffer, from: number, to: number): boolean {
    if (this.localDone || this.closed) return true;
    let at = from;
    if (this.pendingBytes === 0) at = this.#write(bytes, from, to);
    if (at < to) {
      (this.#pending ??= []).push(
        from === 0 && at === 0 && to === bytes.length ? bytes : bytes.subarray(at, to),
      );
      this.pendingBytes += to - at;
      this.connection.wait(this, to - at);
    }
    return this.pendingBytes === 0;
  }

  /** @returns the index behind the last byte that could go */
  #write(bytes: Buffer, from: number, to: number): number {
    const connection = this.connection;
    let at = from;
    while (at < to) {
      const length = Math.min(to - at, FRAME_BYTES_MAX, this.sendWindow, connection.sendWindow);
      if (length <= 0 || connection.blocked) break;
      connection.sendData(this.id, bytes, at, at + length);
      this.sendWindow -= length;
      at += length;
    }
    return at;
  }

  /** The last of this side, behind what waits. @param trailers lines with CR LF each */
  finish(trailers: string = ""): void {
    if (this.localDone || this.#ending || this.closed) return;
    this.#ending = true;
    this.#trailers = trailers;
    if (this.pendingBytes === 0) this.#end();
  }

  /** `finish` has been called. */
  get finishing(): boolean {
    return this.#ending || this.localDone;
  }

  #end(): void {
    if (this.#trailers === "") this.connection.writer.endStream(this.id);
    else this.connection.sendTrailers(this.id, this.#trailers);
    this.ended();
  }

  /** The end has gone out, with DATA or a header block. */
  ended(): void {
    this.localDone = true;
    this.onLocalDone();
    this.#maybeClose();
  }

  /** One frame's worth of what waits; for the connection's round. @returns false where it cannot go on */
  advance(): boolean {
    const first = this.#pending![0]!;
    const to = Math.min(first.length, FRAME_BYTES_MAX);
    const at = this.#write(first, 0, to);
    if (at === 0) return false;
    this.pendingBytes -= at;
    this.connection.waited(at);
    if (at < first.length) this.#pending![0] = first.subarray(at);
    else this.#pending!.shift();
    if (this.pendingBytes > 0) return true;
    this.#pending = null;
    if (this.#ending) this.#end();
    else this.onDrained();
    return false;
  }

  reset(error: number): void {
    if (this.closed) return;
    this.connection.resetStream(this.id, error);
    this.leave();
  }

  // ── receiving ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** DATA of this size begins. @returns false where the peer ignores its window */
  arrives(length: number): boolean {
    this.recvWindow -= length;
    this.#held += length;
    return this.recvWindow >= 0;
  }

  /** Bytes have been passed on, or dropped: the peer may send as many again. */
  consumed(bytes: number): void {
    if (bytes === 0 || this.closed) return;
    this.#held -= bytes;
    this.connection.consumed(bytes);
    if (this.remoteDone) return;
    this.#credit += bytes;
    if (this.#credit < CREDIT_BYTES_MIN) return;
    // Whoever takes what comes may have more under way.
    if (this.#held === 0) {
      this.#credit += STREAM_WINDOW_BYTES - this.#recvLimit;
      this.#recvLimit = STREAM_WINDOW_BYTES;
    }
    this.connection.writer.number(WINDOW_UPDATE, this.id, this.#credit);
    this.recvWindow += this.#credit;
    this.#credit = 0;
  }

  remoteEnded(): void {
    this.remoteDone = true;
    this.#maybeClose();
  }

  /** @returns false where the window would become too large */
  widen(bytes: number): boolean {
    this.sendWindow += bytes;
    return this.sendWindow <= WINDOW_BYTES_MAX;
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #maybeClose(): void {
    if (this.localDone && this.remoteDone) this.leave();
  }

  /** Out of the connection's sight; nothing is called afterwards. */
  leave(): void {
    if (this.closed) return;
    this.closed = true;
    this.connection.forget(this, this.pendingBytes);
    this.#pending = null;
    this.pendingBytes = 0;
    if (this.#held > 0) this.connection.consumed(this.#held);
    this.#held = 0;
  }
}

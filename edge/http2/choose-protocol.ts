/**
 * HTTP/1.1 or HTTP/2 on a listener without TLS, where nothing has been negotiated: a client with prior knowledge begins
 * with the preface of HTTP/2 (RFC 9113 section 3.3), which no request of HTTP/1.1 begins with. Only for listeners that say
 * so: behind another proxy, an HTTP/2 connection that it took for HTTP/1.1 would pass its rules unseen.
 */
import type { Timed } from "../relay/deadlines.ts";
import type { Client, RelayContext } from "../relay/relay-context.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";
import { PREFACE } from "./protocol.ts";

const preface = Buffer.from(PREFACE, "latin1");
/** No method of HTTP/1.1 that is served here begins with them. */
const TELLING_BYTES = 4;

export class ChooseProtocol implements SocketEvents, Timed, Client {
  deadlineMs = Infinity;
  readonly #context: RelayContext;
  readonly #http1: () => SocketEvents;
  readonly #http2: () => SocketEvents;
  #chosen: SocketEvents | null = null;
  #socket: Socket | null = null;
  #held: Buffer = Buffer.alloc(0);

  constructor(context: RelayContext, http1: () => SocketEvents, http2: () => SocketEvents) {
    this.#context = context;
    this.#http1 = http1;
    this.#http2 = http2;
  }

  onOpen(socket: Socket): void {
    this.#socket = socket;
    this.#context.clients.add(this);
    this.#context.deadlines.add(this);
    this.deadlineMs = this.#context.nowMs() + this.#context.limits.headWaitMsMax;
  }

  onData(bytes: Buffer): void {
    if (this.#chosen !== null) return this.#chosen.onData(bytes);
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const seen = Math.min(all.length, TELLING_BYTES);
    const mayBe = all.compare(preface, 0, seen, 0, seen) === 0;
    if (mayBe && seen < TELLING_BYTES) {
      this.#held = all;
      return;
    }
    this.#choose(mayBe ? this.#http2() : this.#http1(), all);
  }

  #choose(chosen: SocketEvents, bytes: Buffer): void {
    this.#chosen = chosen;
    this.#leave();
    chosen.onOpen(this.#socket!);
    if (this.#socket !== null) chosen.onData(bytes);
  }

  #leave(): void {
    this.#context.clients.delete(this);
    this.#context.deadlines.remove(this);
  }

  onDrain(): void {
    this.#chosen?.onDrain();
  }
  onEnd(): void {
    if (this.#chosen === null) this.close();
    else this.#chosen.onEnd();
  }
  onClose(): void {
    this.#socket = null;
    if (this.#chosen !== null) return this.#chosen.onClose();
    this.#leave();
  }
  onFault(error: unknown): void {
    if (this.#chosen !== null) return this.#chosen.onFault(error);
    this.#context.handler.fault(error);
    this.close();
  }
  onConnectError(): void {} // only sockets made by connect() have it
  onDeadline(): void {
    this.close();
  }

  readonly busy = false;
  closeIfIdle(): void {
    if (!this.#context.awaitsIdle) this.close();
  }
  close(): void {
    this.#socket?.close();
  }
}

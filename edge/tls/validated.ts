/**
 * A connection that validated a name (RFC 8737 section 3): there is nothing to say on it. The ACME server closes it; who
 * does not is closed after a while, and not at once, because on Deno that would cut off the handshake's last bytes.
 */
import type { Timed } from "../relay/deadlines.ts";
import type { RelayContext } from "../relay/relay-context.ts";
import type { Socket, SocketEvents } from "../runtime/socket-port.ts";

export class Validated implements SocketEvents, Timed {
  deadlineMs = Infinity;
  readonly #context: RelayContext;
  #socket: Socket | null = null;

  constructor(context: RelayContext) {
    this.#context = context;
  }
  onOpen(socket: Socket): void {
    const { deadlines, limits } = this.#context;
    this.#socket = socket;
    this.deadlineMs = this.#context.nowMs() + limits.lingerMsMax;
    deadlines.add(this);
  }
  onData(): void {
    this.#socket?.close();
  }
  onDrain(): void {}
  onEnd(): void {
    this.#socket?.close();
  }
  onClose(): void {
    this.#socket = null;
    this.#context.deadlines.remove(this);
  }
  onFault(error: unknown): void {
    this.#context.handler.fault(error);
    this.#socket?.close();
  }
  onConnectError(): void {} // only sockets made by connect() have it
  onDeadline(): void {
    this.#socket?.close();
  }
}

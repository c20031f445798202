/** Sockets on Bun.listen and Bun.connect: the fast path, about a fifth quicker than node:net on the same runtime. */
import { loopClock } from "./loop-clock.ts";
import { limitReceiveBuffer } from "./socket-options-bun.ts";
import type { Listener, Socket, SocketEvents, SocketPort } from "./socket-port.ts";

type Raw = Bun.Socket<Connection>;

class Connection implements Socket {
  readonly #events: SocketEvents;
  readonly #receiveBufferBytes: number;
  #raw: Raw | null = null;
  #closing = false;

  constructor(events: SocketEvents, receiveBufferBytes = 0) {
    this.#events = events;
    this.#receiveBufferBytes = receiveBufferBytes;
  }

  get remoteAddress(): string {
    return this.#raw?.remoteAddress ?? "";
  }
  get remotePort(): number {
    return this.#raw?.remotePort ?? 0;
  }
  write(bytes: Uint8Array): number {
    if (this.#raw === null || this.#closing) return 0;
    return Math.max(0, this.#raw.write(bytes));
  }
  writeLatin1(text: string): number {
    if (this.#raw === null || this.#closing) return 0;
    return Math.max(0, this.#raw.write(text, "latin1" as unknown as number));
  }
  pause(): void {
    this.#raw?.pause();
  }
  resume(): void {
    this.#raw?.resume();
  }
  shutdown(): void {
    if (!this.#closing) this.#raw?.shutdown();
  }
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#raw?.end();
  }

  opened(raw: Raw): void {
    loopClock.tick();
    this.#raw = raw;
    if (this.#receiveBufferBytes > 0) {
      limitReceiveBuffer((raw as unknown as { fd: number }).fd, this.#receiveBufferBytes);
    }
    this.#events.onOpen(this);
  }
  data(bytes: Buffer): void {
    loopClock.tick();
    if (!this.#closing) this.#events.onData(bytes);
  }
  drained(): void {
    loopClock.tick();
    if (!this.#closing) this.#events.onDrain();
  }
  ended(): void {
    loopClock.tick();
    if (!this.#closing) this.#events.onEnd();
  }
  closed(): void {
    loopClock.tick();
    this.#closing = true;
    this.#raw = null;
    this.#events.onClose();
  }
  threw(error: Error): void {
    if (!this.#closing) this.#events.onFault(error);
  }
  notConnected(error: Error): void {
    loopClock.tick();
    this.#closing = true;
    this.#events.onConnectError((error as NodeJS.ErrnoException).code ?? error.message);
  }
}

const handlers: Bun.SocketHandler<Connection> = {
  open: (raw) => raw.data.opened(raw),
  data: (raw, bytes) => raw.data.data(bytes),
  drain: (raw) => raw.data.drained(),
  end: (raw) => raw.data.ended(),
  close: (raw) => raw.data.closed(),
  connectError: (raw, error) => raw.data.notConnected(error),
  error: (raw, error) => raw.data.threw(error),
};

export const bunSockets: SocketPort = {
  name: "bun",
  listen({ address, port }, accept) {
    const server = Bun.listen<Connection>({
      hostname: address,
      port,
      allowHalfOpen: true,
      socket: {
        ...handlers,
        open(raw) {
          raw.data = new Connection(accept());
          raw.data.opened(raw);
        },
      },
    });
    const listener: Listener = { port: server.port, stop: () => server.stop(false) };
    return Promise.resolve(listener);
  },
  connect({ address, port, receiveBufferBytes }, events) {
    const connection = new Connection(events, receiveBufferBytes);
    try {
      Bun.connect<Connection>({
        hostname: address,
        port,
        allowHalfOpen: true,
        data: connection,
        socket: handlers,
      }).catch(() => {}); // connectError has told it already
    } catch (error) {
      // What cannot be an address at all; told like every other failure, after this call.
      queueMicrotask(() => connection.notConnected(error as Error));
    }
  },
};

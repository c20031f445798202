/** Sockets on Bun.listen and Bun.connect: the fast path, about a fifth quicker than node:net on the same runtime. */
import { loopClock } from "./loop-clock.ts";
import { limitReceiveBuffer, steerSharedPort } from "./socket-options-bun.ts";
import type {
  Listener,
  Socket,
  SocketEvents,
  SocketPort,
  TlsEvents,
  TlsFacts,
  TlsStart,
} from "./socket-port.ts";

type Raw = Bun.Socket<Connection>;

/**
 * What node:tls itself uses on Bun and Bun's types do not list (1.4.5): TLS as a server on a socket whose first bytes
 * have been read already. start-tls.test.ts holds it.
 */
interface ServerUpgrade {
  upgradeTLS(options: {
    data: Connection;
    socket: Bun.SocketHandler<Connection>;
    isServer: true;
    initialData: Buffer;
    tls: {
      secureContext: unknown;
      ALPNProtocols?: Buffer;
      requestCert: false;
      rejectUnauthorized: false;
    };
  }): [raw: Raw, tls: Raw];
}
interface TlsState {
  close(): void;
  getTLSVersion(): string;
  isSessionReused(): boolean;
}

class Connection implements Socket {
  readonly #receiveBufferBytes: number;
  #events: SocketEvents;
  #raw: Raw | null = null;
  #closing = false;
  #secure = false;
  /** Until the handshake is done. */
  #tls: TlsEvents | null = null;
  #source: { address: string; port: number } | null = null;

  constructor(events: SocketEvents, receiveBufferBytes = 0) {
    this.#events = events;
    this.#receiveBufferBytes = receiveBufferBytes;
  }

  get remoteAddress(): string {
    return this.#source?.address ?? this.#raw?.remoteAddress ?? "";
  }
  get remotePort(): number {
    return this.#source?.port ?? this.#raw?.remotePort ?? 0;
  }
  standsFor(address: string, port: number): void {
    this.#source = { address, port };
  }
  write(bytes: Uint8Array): number {
    if (this.#raw === null || this.#closing) return 0;
    return Math.max(0, this.#raw.write(bytes));
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
    if (!this.#secure) return void this.#raw?.end();
    // end() would wait for the peer's close_notify, which may never come.
    (this.#raw as unknown as TlsState | null)?.close();
  }

  startTls({ context, protocol, received }: TlsStart, events: TlsEvents): void {
    const raw = this.#raw;
    if (raw === null || this.#closing) return queueMicrotask(() => events.onFailed("closed"));
    this.#tls = events;
    this.#secure = true;
    this.#events = NO_EVENTS;
    // The encrypted side goes on to call its handlers; nobody listens to it any more.
    raw.data = nobody;
    const [encrypted, tls] = (raw as unknown as ServerUpgrade).upgradeTLS({
      data: this,
      socket: secureHandlers,
      isServer: true,
      initialData: received,
      tls: {
        secureContext: (context as unknown as { context: unknown }).context,
        ...(protocol === null ? {} : { ALPNProtocols: alpnList(protocol) }),
        requestCert: false,
        rejectUnauthorized: false,
      },
    });
    encrypted.data = nobody;
    this.#raw = tls;
  }
  handshaken(raw: Raw, success: boolean, error: Error | null): void {
    loopClock.tick();
    const tls = this.#tls;
    if (tls === null) return;
    this.#tls = null;
    if (!success || this.#closing) {
      this.#closing = true;
      tls.onFailed(reasonOf(error));
      (raw as unknown as TlsState).close(); // the alert still goes out
      return;
    }
    const state = raw as unknown as TlsState;
    const facts: TlsFacts = { version: state.getTLSVersion(), resumed: state.isSessionReused() };
    this.#events = tls.onSecure(this, facts);
    this.#events.onOpen(this);
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
    const tls = this.#tls;
    this.#tls = null;
    tls?.onFailed("closed");
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

const NO_EVENTS: SocketEvents = {
  onOpen() {},
  onData() {},
  onDrain() {},
  onEnd() {},
  onClose() {},
  onFault() {},
  onConnectError() {},
};

const nobody = new Connection(NO_EVENTS);

/** RFC 7301 section 3.1, of one name. */
function alpnList(protocol: string): Buffer {
  const list = Buffer.from(`.${protocol}`, "latin1");
  list[0] = protocol.length;
  return list;
}

/** BoringSSL's word for it, of `error:100000f0:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL`. */
function reasonOf(error: Error | null): string {
  const message = error?.message ?? "closed";
  return message.slice(message.lastIndexOf(":") + 1);
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

const secureHandlers: Bun.SocketHandler<Connection> = {
  ...handlers,
  open() {},
  handshake: (raw, success, error) => raw.data.handshaken(raw, success, error),
};

/** Bun has the option, and its types do not. */
function sharedPort(shared: boolean): object {
  return shared ? { reusePort: true } : {};
}

/** Below this a read lives in the collector's own heap, and to detach it costs more than it saves. */
const SPENT_BYTES_MIN = 2_048;

export const bunSockets: SocketPort = {
  name: "bun",
  /**
   * Left to the collector, tens of megabytes of reads are in circulation, all the more the larger the heap is, and the
   * allocator gives their pages to the kernel and faults them in again: with 100,000 hosts in the table that was a third
   * of what a proxied response of 64 KB costs. Detached, the same few pages are used again and stay in the cache.
   */
  spent(bytes) {
    // Asked first, because `buffer` makes such a read an object of its own outside of that heap.
    if (bytes.length < SPENT_BYTES_MIN) return;
    const memory = bytes.buffer as ArrayBuffer;
    // A read's memory ends where its bytes end; anything else is somebody else's, or a pool.
    if (bytes.byteOffset + bytes.length === memory.byteLength) memory.transfer(0);
  },
  listen({ address, port, shared = false }, accept) {
    const server = Bun.listen<Connection>({
      hostname: address,
      port,
      allowHalfOpen: true,
      ...sharedPort(shared),
      socket: {
        ...handlers,
        open(raw) {
          raw.data = new Connection(accept());
          raw.data.opened(raw);
        },
      },
    });
    const listener: Listener = {
      port: server.port,
      stop: () => server.stop(false),
      steer: (program) => steerSharedPort((server as unknown as { fd: number }).fd, program),
    };
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

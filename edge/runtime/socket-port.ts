/**
 * What the relay asks of a byte stream. Callbacks and not event emitters, because they are the hot path; partial writes
 * and not hidden queues, because memory must be bounded by whoever produces the bytes.
 *
 * Rules that every implementation keeps (`socket-port.contract.ts`):
 * - `write` takes a prefix and says how many bytes; it keeps no reference to them. After a short write `onDrain` comes
 *   once the socket takes more.
 * - `onEnd` says that the peer will send no more; this side may still write. `onClose` comes exactly once, last.
 * - After `close` or `reset` no callback but `onClose` comes.
 */
import type { SecureContext } from "node:tls";

/** How TLS begins on a connection whose first bytes have been read (`tls/client-hello.ts`). */
export interface TlsStart {
  /** Certificate, suites and versions. */
  readonly context: SecureContext;
  /** What ALPN agrees on; null where the client offered nothing. */
  readonly protocol: string | null;
  /** All that was read so far. */
  readonly received: Buffer;
}

export interface TlsFacts {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  /** By an earlier session's ticket. */
  readonly resumed: boolean;
}

/** Exactly one of the two is called. */
export interface TlsEvents {
  /** The handshake is done. @returns who takes the socket from here; its `onOpen` comes next */
  onSecure(socket: Socket, facts: TlsFacts): SocketEvents;
  /** There was none, or the connection ended before it was done. The connection is gone. */
  onFailed(reason: string): void;
}

export interface Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** From now on the remote end is this one: whoever is connected has said that it stands for it. */
  standsFor(address: string, port: number): void;
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Half-close: the peer sees the end of the stream, and may go on sending. */
  shutdown(): void;
  /**
   * Becomes the server's side of TLS: this socket then carries what is inside. The events that it was opened with get no
   * call any more; `close` may be called at any time.
   */
  startTls(start: TlsStart, events: TlsEvents): void;
  /** Closes both ways; what was taken by `write` still goes out. */
  close(): void;
}

export interface SocketEvents {
  onOpen(socket: Socket): void;
  onData(bytes: Buffer): void;
  onDrain(): void;
  onEnd(): void;
  onClose(): void;
  /** A callback of this object threw: a fault of ours, which must not take the other connections with it. */
  onFault(error: unknown): void;
  /** Instead of `onOpen`, on sockets made by `connect`. `code` is errno's name (`ECONNREFUSED`). */
  onConnectError(code: string): void;
}

export interface Listener {
  readonly port: number;
  /** Accepts no more; open connections go on. */
  stop(): void;
  /**
   * Sets the program by which the kernel spreads connections over all sockets of a shared port, whoever has them.
   * @param program classic BPF, `struct sock_filter[]`
   * @returns false where the system has no such thing; the kernel then goes on as before
   */
  steer(program: Uint8Array): boolean;
}

export interface ConnectOptions {
  readonly address: string;
  readonly port: number;
  /** Bounds what one read brings, where the runtime's own reads are larger; 0 leaves it to the kernel. */
  readonly receiveBufferBytes?: number;
}

export interface ListenOptions {
  readonly address: string;
  readonly port: number;
  /** Other processes may listen there too (SO_REUSEPORT). */
  readonly shared?: boolean;
}

export interface SocketPort {
  readonly name: string;
  listen(options: ListenOptions, accept: () => SocketEvents): Promise<Listener>;
  connect(options: ConnectOptions, events: SocketEvents): void;
  /**
   * What `onData` brought is not needed any more: its memory may be used again at once. Nothing may refer to `bytes`, nor
   * to another part of the same read.
   */
  spent(bytes: Buffer): void;
}

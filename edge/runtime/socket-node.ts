/** Sockets on node:net: what Deno runs on, and what the Bun implementation is compared with. */
import { connect, createServer, type Socket as NetSocket } from "node:net";
import { TLSSocket } from "node:tls";
import { loopClock } from "./loop-clock.ts";
import { listeningFd } from "./listening-fd.ts";
import type { Socket, SocketEvents, SocketPort, TlsEvents, TlsStart } from "./socket-port.ts";

const OWN_EVENTS = ["connect", "data", "drain", "end", "error", "close"] as const;

class Connection implements Socket {
  #net: NetSocket;
  #events: SocketEvents;
  #closing = false;
  #source: { address: string; port: number } | null = null;
  #open: boolean;
  #ended = false;
  #blocked = false;

  constructor(net: NetSocket, events: SocketEvents, open: boolean) {
    this.#net = net;
    this.#events = events;
    this.#open = open;
    net.setNoDelay(true);
    this.#listen(net);
    if (open) this.#guarded(() => events.onOpen(this));
  }

  #guarded(call: () => void): void {
    loopClock.tick();
    try {
      call();
    } catch (error) {
      this.#events.onFault(error);
    }
  }

  #listen(net: NetSocket): void {
    net.on("connect", () => {
      this.#open = true;
      this.#guarded(() => this.#events.onOpen(this));
    });
    net.on("data", (bytes: Buffer) => {
      if (!this.#closing) this.#guarded(() => this.#events.onData(bytes));
    });
    net.on("drain", () => {
      if (!this.#blocked || this.#closing) return;
      this.#blocked = false;
      this.#guarded(() => this.#events.onDrain());
    });
    net.on("end", () => {
      if (this.#ended || this.#closing) return;
      this.#ended = true;
      this.#guarded(() => this.#events.onEnd());
    });
    net.on("error", (error: NodeJS.ErrnoException) => {
      if (this.#open) return; // "close" follows
      this.#closing = true;
      this.#guarded(() => this.#events.onConnectError(error.code ?? error.message));
    });
    net.on("close", () => {
      if (!this.#open) return;
      this.#closing = true;
      this.#guarded(() => this.#events.onClose());
    });
  }

  get remoteAddress(): string {
    return this.#source?.address ?? this.#net.remoteAddress ?? "";
  }
  get remotePort(): number {
    return this.#source?.port ?? this.#net.remotePort ?? 0;
  }
  standsFor(address: string, port: number): void {
    this.#source = { address, port };
  }
  /** node:net queues without a bound, so past its high-water mark nothing more is taken until it has drained. */
  write(bytes: Uint8Array): number {
    if (this.#closing || !this.#net.writable) return 0;
    if (this.#net.writableNeedDrain) {
      this.#blocked = true;
      return 0;
    }
    this.#net.write(Buffer.from(bytes));
    return bytes.length;
  }
  pause(): void {
    this.#net.pause();
  }
  resume(): void {
    this.#net.resume();
  }
  shutdown(): void {
    if (!this.#closing) this.#net.end();
  }
  startTls({ context, protocol, received }: TlsStart, events: TlsEvents): void {
    const net = this.#net;
    if (this.#closing) return queueMicrotask(() => events.onFailed("closed"));
    for (const name of OWN_EVENTS) net.removeAllListeners(name);
    net.on("error", () => {}); // the TLS socket's own error follows
    net.pause();
    net.unshift(received);
    const tls = new TLSSocket(
      net,
      {
        isServer: true,
        secureContext: context,
        ALPNProtocols: protocol === null ? [] : [protocol],
        requestCert: false,
        rejectUnauthorized: false,
        allowHalfOpen: true,
      } as ConstructorParameters<typeof TLSSocket>[1],
    );
    this.#net = tls;
    let pending: TlsEvents | null = events;
    const failed = (reason: string) => {
      const told = pending;
      pending = null;
      this.#closing = true;
      told?.onFailed(reason);
      tls.destroy();
    };
    const onError = (error: NodeJS.ErrnoException) => failed(error.code ?? error.message);
    const onClose = () => failed("closed");
    tls.on("error", onError);
    tls.on("close", onClose);
    tls.once("secure", () => {
      if (pending === null) return;
      pending = null;
      tls.off("error", onError);
      tls.off("close", onClose);
      this.#listen(tls);
      const facts = { version: tls.getProtocol() ?? "", resumed: tls.isSessionReused() };
      this.#guarded(() => {
        this.#events = events.onSecure(this, facts);
        this.#events.onOpen(this);
      });
    });
  }
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#net.writableLength === 0) this.#net.destroy();
    else this.#net.destroySoon();
  }
}

export const nodeSockets: SocketPort = {
  name: "node",
  spent() {}, // node:net may use a read's memory for others
  listen({ address, port, shared = false }, accept) {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (net) => {
        new Connection(net, accept(), true);
      });
      server.once("error", reject);
      server.listen({ port, host: address, reusePort: shared }, () => {
        const address = server.address();
        const bound = typeof address === "object" && address !== null ? address.port : port;
        resolve({
          port: bound,
          stop: () => void server.close(),
          steer: (program) => steer(bound, program),
        });
      });
    });
  },
  connect({ address, port }, events) {
    new Connection(connect({ host: address, port, allowHalfOpen: true }), events, false);
  },
};

let steerSharedPort: ((fd: number, program: Uint8Array<ArrayBuffer>) => boolean) | null = null;
if ("Deno" in globalThis) ({ steerSharedPort } = await import("./socket-options-deno.ts"));

function steer(port: number, program: Uint8Array): boolean {
  const fd = listeningFd(port);
  return fd !== null && steerSharedPort !== null && steerSharedPort(fd, new Uint8Array(program));
}

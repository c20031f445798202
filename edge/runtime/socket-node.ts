/** Sockets on node:net: what Deno runs on, and what the Bun implementation is compared with. */
import { connect, createServer, type Socket as NetSocket } from "node:net";
import { loopClock } from "./loop-clock.ts";
import type { Socket, SocketEvents, SocketPort } from "./socket-port.ts";

class Connection implements Socket {
  readonly #net: NetSocket;
  #closing = false;
  #open: boolean;
  #ended = false;
  #blocked = false;

  constructor(net: NetSocket, events: SocketEvents, open: boolean) {
    this.#net = net;
    this.#open = open;
    net.setNoDelay(true);
    const guarded = (call: () => void) => {
      loopClock.tick();
      try {
        call();
      } catch (error) {
        events.onFault(error);
      }
    };
    net.on("connect", () => {
      this.#open = true;
      guarded(() => events.onOpen(this));
    });
    net.on("data", (bytes: Buffer) => {
      if (!this.#closing) guarded(() => events.onData(bytes));
    });
    net.on("drain", () => {
      if (!this.#blocked || this.#closing) return;
      this.#blocked = false;
      guarded(() => events.onDrain());
    });
    net.on("end", () => {
      if (this.#ended || this.#closing) return;
      this.#ended = true;
      guarded(() => events.onEnd());
    });
    net.on("error", (error: NodeJS.ErrnoException) => {
      if (this.#open) return; // "close" follows
      this.#closing = true;
      guarded(() => events.onConnectError(error.code ?? error.message));
    });
    net.on("close", () => {
      if (!this.#open) return;
      this.#closing = true;
      guarded(() => events.onClose());
    });
    if (open) guarded(() => events.onOpen(this));
  }

  get remoteAddress(): string {
    return this.#net.remoteAddress ?? "";
  }
  get remotePort(): number {
    return this.#net.remotePort ?? 0;
  }
  write(bytes: Uint8Array): number {
    return this.#write(() => Buffer.from(bytes), bytes.length);
  }
  writeLatin1(text: string): number {
    return this.#write(() => Buffer.from(text, "latin1"), text.length);
  }
  /** node:net queues without a bound, so past its high-water mark nothing more is taken until it has drained. */
  #write(copy: () => Buffer, length: number): number {
    if (this.#closing || !this.#net.writable) return 0;
    if (this.#net.writableNeedDrain) {
      this.#blocked = true;
      return 0;
    }
    this.#net.write(copy());
    return length;
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
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#net.writableLength === 0) this.#net.destroy();
    else this.#net.destroySoon();
  }
}

export const nodeSockets: SocketPort = {
  name: "node",
  listen({ address, port }, accept) {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (net) => {
        new Connection(net, accept(), true);
      });
      server.once("error", reject);
      server.listen(port, address, () => {
        const bound = server.address();
        resolve({
          port: typeof bound === "object" && bound !== null ? bound.port : port,
          stop: () => void server.close(),
        });
      });
    });
  },
  connect({ address, port }, events) {
    new Connection(connect({ host: address, port, allowHalfOpen: true }), events, false);
  },
};

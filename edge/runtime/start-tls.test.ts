/** `startTls` on both implementations, with node:tls as the client. What Bun's types do not list is held here. */
import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect, createSecureContext, type TLSSocket } from "node:tls";
import { until } from "../edge.fixture.ts";
import { makeCertificate } from "../tls/make-certificate.ts";
import { bunSockets } from "./socket-bun.ts";
import { nodeSockets } from "./socket-node.ts";
import type { Socket, SocketEvents, SocketPort, TlsFacts } from "./socket-port.ts";

const nowMs = Date.now();
const made = makeCertificate({
  names: ["a.test"],
  notBeforeMs: nowMs - 60_000,
  notAfterMs: nowMs + 86_400_000,
});
const context = createSecureContext({ cert: made.chain, key: made.key, minVersion: "TLSv1.2" });
const only12 = createSecureContext({ cert: made.chain, key: made.key, maxVersion: "TLSv1.2" });

/** Starts TLS with the first bytes, then records what comes. */
class Server implements SocketEvents {
  raw: Socket | null = null;
  socket: Socket | null = null;
  facts: TlsFacts | null = null;
  failed: string | null = null;
  bytes = 0;
  text = "";
  ends = 0;
  closes = 0;
  rawCalls = 0;
  drains = 0;
  fault: unknown = null;
  onText: () => void = () => {};
  readonly #context: typeof context;
  readonly #delayed: boolean;

  constructor(used: typeof context, delayed: boolean) {
    this.#context = used;
    this.#delayed = delayed;
  }
  onOpen(socket: Socket) {
    this.raw = socket;
  }
  onData(received: Buffer) {
    this.rawCalls++;
    if (this.rawCalls > 1) return;
    const start = () =>
      this.raw!.startTls({ context: this.#context, protocol: "http/1.1", received }, {
        onSecure: (_socket, facts) => {
          this.facts = facts;
          return {
            onOpen: (socket) => this.socket = socket,
            onData: (bytes) => {
              this.bytes += bytes.length;
              if (this.text.length < 100) this.text += bytes.toString("latin1");
              this.onText();
            },
            onDrain: () => this.drains++,
            onEnd: () => this.ends++,
            onClose: () => this.closes++,
            onFault: (error) => this.fault = error,
            onConnectError() {},
          };
        },
        onFailed: (reason) => this.failed = reason,
      });
    if (!this.#delayed) return start();
    this.raw!.pause();
    setImmediate(() => {
      this.raw!.resume();
      start();
    });
  }
  onDrain() {}
  onEnd() {
    this.rawCalls += 100;
  }
  onClose() {
    this.rawCalls += 100;
  }
  onFault(error: unknown) {
    this.fault = error;
  }
  onConnectError() {}
}

async function listen(port: SocketPort, used = context, delayed = false) {
  const servers: Server[] = [];
  const listener = await port.listen({ address: "127.0.0.1", port: 0 }, () => {
    const server = new Server(used, delayed);
    servers.push(server);
    return server;
  });
  return { servers, listener };
}

async function client(port: number, options: Record<string, unknown> = {}): Promise<TLSSocket> {
  const socket = connect(
    {
      port,
      host: "127.0.0.1",
      servername: "a.test",
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: false,
      allowHalfOpen: true,
      ...options,
    } as Parameters<typeof connect>[0],
  );
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

for (const port of [bunSockets, nodeSockets]) {
  describe(`startTls on ${port.name}`, () => {
    test("makes the socket carry what is inside, and leaves the first events alone", async () => {
      const { servers, listener } = await listen(port);
      const socket = await client(listener.port);
      expect(socket.alpnProtocol).toBe("http/1.1");
      socket.write("hello");
      await until(() => servers[0]?.text === "hello");
      const server = servers[0]!;
      expect(server.facts).toEqual({ version: "TLSv1.3", resumed: false });
      expect(server.socket!.remoteAddress).toBe("127.0.0.1");
      expect(server.socket!.remotePort).toBe(socket.localPort!);
      let answer = "";
      socket.on("data", (bytes) => answer += bytes);
      expect(server.socket!.write(Buffer.from("h\xe9", "latin1"))).toBe(2);
      expect(server.socket!.write(Buffer.from("llo"))).toBe(3);
      await until(() => answer.length > 4);
      server.socket!.close();
      await until(() => server.closes === 1);
      expect([server.rawCalls, server.closes, server.fault]).toEqual([1, 1, null]);
      socket.destroy();
      listener.stop();
    });

    test("starts later too, while the socket was paused", async () => {
      const { servers, listener } = await listen(port, context, true);
      const socket = await client(listener.port);
      socket.write("late");
      await until(() => servers[0]?.text === "late");
      socket.destroy();
      await until(() => servers[0]!.ends === 1);
      servers[0]!.socket!.close();
      await until(() => servers[0]!.closes === 1);
      listener.stop();
    });

    test("keeps the context's versions", async () => {
      const { servers, listener } = await listen(port, only12);
      const socket = await client(listener.port);
      expect(socket.getProtocol()).toBe("TLSv1.2");
      await until(() => servers[0]?.facts !== null);
      expect(servers[0]!.facts!.version).toBe("TLSv1.2");
      socket.destroy();
      listener.stop();
    });

    for (const maxVersion of ["TLSv1.2", "TLSv1.3"]) {
      test(`resumes ${maxVersion} sessions`, async () => {
        const { servers, listener } = await listen(port);
        const first = await client(listener.port, { maxVersion });
        const session = maxVersion === "TLSv1.3"
          ? new Promise<Buffer>((resolve) => first.once("session", resolve))
          : Promise.resolve(first.getSession()!);
        // Tickets of 1.3 come after the handshake.
        first.write("x");
        first.on("data", () => {});
        await until(() => servers[0]?.text === "x");
        servers[0]!.socket!.write(Buffer.from("y"));
        const second = await client(listener.port, { maxVersion, session: await session });
        await until(() => servers[1]?.facts !== null && servers[1] !== undefined);
        expect(servers[1]!.facts!.resumed).toBe(true);
        first.destroy();
        second.destroy();
        listener.stop();
      });
    }

    test("a client that says no, or leaves half-way, is a failure told once", async () => {
      const { servers, listener } = await listen(port);
      const refusing = connect({ port: listener.port, host: "127.0.0.1", rejectUnauthorized: true });
      refusing.on("error", () => {});
      await new Promise((resolve) => refusing.once("close", resolve));
      const leaving = connectTcp(listener.port, "127.0.0.1");
      leaving.on("error", () => {});
      await once(leaving, "connect");
      leaving.write(Buffer.from("160301004001", "hex"));
      await until(() => servers.length === 2 && servers[1]!.rawCalls === 1);
      leaving.destroy();
      await until(() => servers[1]!.failed !== null);
      expect(servers[1]!.facts).toBe(null);
      listener.stop();
    });

    test("close during the handshake ends the connection", async () => {
      const { servers, listener } = await listen(port);
      const waiting = connectTcp(listener.port, "127.0.0.1");
      waiting.on("error", () => {});
      await once(waiting, "connect");
      waiting.write(Buffer.from("160301004001", "hex"));
      await until(() => servers[0]?.rawCalls === 1);
      servers[0]!.raw!.close();
      await new Promise((resolve) => waiting.once("close", resolve));
      await until(() => servers[0]!.failed !== null);
      listener.stop();
    });

    test("half-close: close_notify arrives once, and this side may still write", async () => {
      const { servers, listener } = await listen(port);
      const socket = await client(listener.port);
      let answer = "", ended = false;
      socket.on("data", (bytes) => answer += bytes);
      socket.on("end", () => ended = true);
      socket.end("bye");
      await until(() => servers[0]?.ends === 1);
      servers[0]!.socket!.write(Buffer.from("still here"));
      servers[0]!.socket!.close();
      await until(() => ended);
      expect(answer).toBe("still here");
      await until(() => servers[0]!.closes === 1);
      expect(servers[0]!.ends).toBe(1);
      socket.destroy();
      listener.stop();
    });

    test("a paused reader stops the writer, and what was written arrives whole", async () => {
      const { servers, listener } = await listen(port);
      const socket = await client(listener.port);
      socket.write("go");
      await until(() => servers[0]?.text === "go");
      const server = servers[0]!;
      const size = 24 * 1_048_576;
      const block = Buffer.alloc(1_048_576, 7);
      let sent = 0, stopped = false, received = 0;
      const pump = () => {
        while (sent < size) {
          const chunk = block.subarray(0, Math.min(block.length, size - sent));
          const taken = server.socket!.write(chunk);
          sent += taken;
          if (taken < chunk.length) return void (stopped = true);
        }
      };
      socket.pause();
      pump();
      expect(stopped).toBe(true);
      expect(sent).toBeLessThan(size);
      socket.on("data", (bytes) => {
        received += bytes.length;
        expect(bytes[0]).toBe(7);
      });
      socket.resume();
      let seen = server.drains;
      await until(() => {
        if (server.drains > seen) {
          seen = server.drains;
          pump();
        }
        return received === size;
      });
      server.socket!.close();
      socket.destroy();
      await until(() => server.closes === 1);
      listener.stop();
    });

    test("pause stops what comes in", async () => {
      const { servers, listener } = await listen(port);
      const socket = await client(listener.port);
      socket.write("go");
      await until(() => servers[0]?.text === "go");
      const server = servers[0]!;
      server.socket!.pause();
      const size = 24 * 1_048_576;
      let done = false;
      socket.write(Buffer.alloc(size, 1), () => done = true);
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      expect(done).toBe(false);
      server.socket!.resume();
      await until(() => server.bytes === size + 2);
      socket.destroy();
      server.socket!.close();
      listener.stop();
    });
  });
}

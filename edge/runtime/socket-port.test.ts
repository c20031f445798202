/** One contract, both implementations; on Deno only node:net exists, which is why the Bun one is loaded here by name. */
import { describe, expect, test } from "bun:test";
import { bunSockets } from "./socket-bun.ts";
import { nodeSockets } from "./socket-node.ts";
import type { Listener, Socket, SocketEvents, SocketPort } from "./socket-port.ts";

class Recorder implements SocketEvents {
  socket: Socket | null = null;
  bytes = 0;
  text = "";
  ends = 0;
  closes = 0;
  drains = 0;
  connectError: string | null = null;
  fault: unknown = null;
  onChange: () => void = () => {};
  #waiting: (() => void)[] = [];

  #changed() {
    this.onChange();
    for (const check of [...this.#waiting]) check();
  }
  onOpen(socket: Socket) {
    this.socket = socket;
    this.#changed();
  }
  onData(bytes: Buffer) {
    this.bytes += bytes.length;
    if (this.text.length < 100) this.text += bytes.toString("latin1");
    this.#changed();
  }
  onDrain() {
    this.drains++;
    this.#changed();
  }
  onEnd() {
    this.ends++;
    this.#changed();
  }
  onClose() {
    this.closes++;
    this.#changed();
  }
  onFault(error: unknown) {
    this.fault = error;
    this.#changed();
  }
  onConnectError(code: string) {
    this.connectError = code;
    this.#changed();
  }
  when(holds: (r: this) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!holds(this)) return;
        this.#waiting = this.#waiting.filter((other) => other !== check);
        resolve();
      };
      this.#waiting.push(check);
      check();
    });
  }
}

async function pair(port: SocketPort): Promise<{ server: Recorder; client: Recorder; listener: Listener }> {
  const server = new Recorder(), client = new Recorder();
  const listener = await port.listen({ address: "127.0.0.1", port: 0 }, () => server);
  port.connect({ address: "127.0.0.1", port: listener.port }, client);
  await Promise.all([server.when((r) => r.socket !== null), client.when((r) => r.socket !== null)]);
  return { server, client, listener };
}

for (const port of [bunSockets, nodeSockets]) {
  describe(`sockets on ${port.name}`, () => {
    test("carry latin1 text as bytes, and bytes", async () => {
      const { server, client, listener } = await pair(port);
      expect(client.socket!.write(Buffer.from("h\xe9\xff", "latin1"))).toBe(3);
      await server.when((r) => r.bytes === 3);
      expect(server.text).toBe("h\xe9\xff");
      expect(server.socket!.remoteAddress).toBe("127.0.0.1");
      expect(server.socket!.write(Buffer.from("abc"))).toBe(3);
      await client.when((r) => r.text === "abc");
      client.socket!.close();
      listener.stop();
    });

    test("half-close: the end arrives once, and the other side may still write", async () => {
      const { server, client, listener } = await pair(port);
      client.socket!.shutdown();
      await server.when((r) => r.ends === 1);
      server.socket!.write(Buffer.from("late"));
      await client.when((r) => r.text === "late");
      server.socket!.close();
      await client.when((r) => r.ends + r.closes > 0);
      client.socket!.close();
      await Promise.all([client.when((r) => r.closes === 1), server.when((r) => r.closes === 1)]);
      expect(server.ends).toBe(1);
      listener.stop();
    });

    test("a paused reader stops the writer, which is told when it may go on", async () => {
      const { server, client, listener } = await pair(port);
      server.socket!.pause();
      const size = 32 * 1_048_576;
      const block = Buffer.alloc(1_048_576, 1);
      let sent = 0;
      const pump = () => {
        while (sent < size) {
          const chunk = block.subarray(0, Math.min(block.length, size - sent));
          const taken = client.socket!.write(chunk);
          sent += taken;
          if (taken < chunk.length) return;
        }
      };
      pump();
      expect(sent).toBeLessThan(size);
      client.onChange = pump;
      server.socket!.resume();
      await server.when((r) => r.bytes === size);
      expect(client.drains).toBeGreaterThan(0);
      client.onChange = () => {};
      client.socket!.close();
      await server.when((r) => r.ends + r.closes > 0);
      server.socket!.close();
      listener.stop();
    });

    test("a refused connection says so by errno's name", async () => {
      const { client, server, listener } = await pair(port);
      client.socket!.close();
      server.socket!.close();
      await server.when((r) => r.closes === 1);
      listener.stop();
      const refused = new Recorder();
      port.connect({ address: "127.0.0.1", port: 1 }, refused);
      await refused.when((r) => r.connectError !== null);
      expect(refused.connectError).toBe("ECONNREFUSED");
      expect(refused.closes).toBe(0);
    });

    test("an address that is none is a failed connection and not an exception", async () => {
      for (const address of ["", "a\0b", "999.1.1.1"]) {
        const failed = new Recorder();
        port.connect({ address, port: 1 }, failed);
        expect(failed.connectError).toBe(null);
        await failed.when((r) => r.connectError !== null);
        expect(failed.closes).toBe(0);
      }
    });

    test("a callback that throws is told to its own object and nobody else", async () => {
      const { server, client, listener } = await pair(port);
      server.onChange = () => {
        server.onChange = () => {};
        throw new Error("ours");
      };
      client.socket!.write(Buffer.from("x"));
      await server.when((r) => r.fault !== null);
      expect(String(server.fault)).toContain("ours");
      client.socket!.close();
      server.socket!.close();
      listener.stop();
    });

    test("both sides that have ended are closed, once", async () => {
      const { server, client, listener } = await pair(port);
      client.socket!.shutdown();
      await server.when((r) => r.ends === 1);
      server.socket!.shutdown();
      await client.when((r) => r.ends === 1 || r.closes === 1);
      client.socket!.close();
      server.socket!.close();
      await Promise.all([client.when((r) => r.closes === 1), server.when((r) => r.closes === 1)]);
      expect(client.closes + server.closes).toBe(2);
      listener.stop();
    });
  });
}

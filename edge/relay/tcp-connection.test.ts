/** Connections that carry bytes and no requests, on a real edge. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { readFile } from "node:fs/promises";
import { Services } from "../../control/contract/machine.ts";
import {
  closedPort,
  idOf,
  RawClient,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";
import { ask, secureClient } from "../tls/tls.fixture.ts";
import { HAPROXY, startHaproxy } from "./haproxy.fixture.ts";
import { LIMITS } from "./limits.ts";

let t: TestEdge;
beforeAll(async () => {
  t = await startTestEdge({ listener: { app: "db.test" }, holdWaitMsMax: 800 });
});
afterAll(() => t.stop());

const tcp = (port: number, handlers: ("proxy_proto" | "http")[] = []) => ({
  services: Services.parse([{ internal_port: port, ports: [{ port: 80, handlers }] }]),
});
const idle = () => until(() => t.edge.relay.clients.size === 0);

describe("a listener for bytes", () => {
  test("carries them both ways as they come, whoever speaks first, and half-closes each way on its own", async () => {
    const machine = await startRawUpstream(({ socket, text }) => {
      if (text.endsWith("\0\xff")) socket.write(Buffer.from("\xfe\0seen", "latin1"));
    });
    machine.server.on("connection", (socket) => socket.write("welcome "));
    await t.app("db", machine.port, tcp(machine.port));
    const client = await RawClient.open(t.port);
    await client.has("welcome ");
    client.send("\0\xff");
    await client.has("\xfe\0seen");
    client.socket.end();
    // The machine sees the end and ends its side too.
    await client.end();
    await until(() => machine.connections[0]!.closed);
    await idle();
    expect(client.text).toBe("welcome \xfe\0seen");
    await machine.stop();
    await until(async () => (await readFile(t.logFile, "utf8")).includes('"protocol":"TCP"'));
    const line = JSON.parse((await readFile(t.logFile, "utf8")).trim().split("\n").at(-1)!);
    expect(line).toMatchObject({
      host: "db.test",
      app: "db",
      bytes_in: 2,
      bytes_out: 14,
      status: 0,
      code: null,
    });
    client.close();
  });

  test("a client that has said all before the machine's connection stands still gets its answer", async () => {
    const machine = createServer({ allowHalfOpen: true }, (socket) => {
      let text = "";
      socket.on("data", (bytes) => text += bytes);
      socket.on("end", () => socket.end(`got ${text}`));
    });
    await new Promise<void>((resolve) => machine.listen(0, "127.0.0.1", resolve));
    const { port } = machine.address() as AddressInfo;
    await t.machine("db", port, { ...tcp(port), state: "starting", address4: null });
    await t.settled();
    const client = await RawClient.open(t.port);
    client.send("question");
    client.socket.end();
    await until(() => t.edge.routes.find("db.test")!.service(80).waiters.size === 1);
    await t.machine("db", port, { ...tcp(port), started_at_ms: 2 });
    expect(await client.end()).toBe("got question");
    await idle();
    machine.close();
  });

  test("holds back whoever sends faster than the other reads, and loses nothing", async () => {
    const size = 64 * 1_048_576;
    const block = Buffer.alloc(65_536, "b");
    let sent = 0;
    const machine = await startRawUpstream(() => {});
    machine.server.on("connection", (socket) => {
      const pump = () => {
        while (sent < size) {
          sent += block.length;
          if (!socket.write(block)) return;
        }
        socket.end();
      };
      socket.on("drain", pump);
      pump();
    });
    await t.machine("db", machine.port, { ...tcp(machine.port), started_at_ms: 3 });
    await t.settled();
    const client = await RawClient.open(t.port);
    client.socket.pause();
    client.socket.removeAllListeners("data");
    let before = -1;
    await until(async () => {
      const still = sent === before;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return still && sent > 0;
    });
    expect(sent).toBeLessThan(32 * 1_048_576);
    let received = 0;
    client.socket.on("data", (bytes: Buffer) => received += bytes.length);
    client.socket.resume();
    await until(() => received === size, 20_000);
    client.close();
    await idle();
    await machine.stop();
  }, 30_000);

  test("a machine that refuses is passed over, and without any the connection is closed with nothing said", async () => {
    const machine = await startRawUpstream(({ socket }) => socket.end("served"));
    const dead = await closedPort();
    await t.machine("db", dead, { ...tcp(dead), started_at_ms: 4 });
    await t.machine("db", machine.port, { ...tcp(machine.port), id: idOf("mdb2", 14), started_at_ms: 5 });
    await t.settled();
    for (let i = 0; i < 6; i++) {
      const client = await RawClient.open(t.port);
      expect(await client.send("x").end()).toBe("served");
      client.close();
    }
    await t.machine("db", dead, { ...tcp(dead), state: "stopped", id: idOf("mdb2", 14) });
    await t.settled();
    const client = await RawClient.open(t.port);
    expect(await client.send("x").end()).toBe("");
    client.close();
    await machine.stop();
    await idle();
    await until(async () => (await readFile(t.logFile, "utf8")).includes('"code":"edge.machine_refused"'));
  });

  test("a client or a machine that goes away takes the other side with it", async () => {
    const machine = await startRawUpstream(() => {});
    await t.machine("db", machine.port, { ...tcp(machine.port), started_at_ms: 6 });
    await t.settled();
    const gone = await RawClient.open(t.port);
    gone.send("x");
    await until(() => machine.connections.length === 1 && machine.connections[0]!.text === "x");
    gone.socket.resetAndDestroy();
    await until(() => machine.connections[0]!.closed);
    const left = await RawClient.open(t.port);
    left.send("x");
    await until(() => machine.connections.length === 2 && machine.connections[1]!.text === "x");
    machine.connections[1]!.socket.resetAndDestroy();
    await until(() => left.ended || left.closed);
    left.close();
    const silent = await RawClient.open(t.port);
    silent.send("x");
    await until(() => machine.connections.length === 3 && machine.connections[2]!.text === "x");
    t.edge.deadlines.sweep(performance.now() + LIMITS.tunnelIdleMsMax + 1_000);
    await until(() => silent.ended && machine.connections[2]!.closed);
    silent.close();
    await idle();
    await machine.stop();
  });

  test.skipIf(HAPROXY === null)("a machine that asks for a PROXY header gets it first", async () => {
    const behind = await startRawUpstream(({ socket, text }) => socket.write(text.toUpperCase()));
    const haproxy = await startHaproxy(
      `frontend f\n  mode tcp\n  bind 127.0.0.1:PORT accept-proxy\n  tcp-request session reject unless { src 127.0.0.9 }\n` +
        `  default_backend b\nbackend b\n  mode tcp\n  server app 127.0.0.1:${behind.port}`,
    );
    await t.machine("db", haproxy.port, { ...tcp(haproxy.port, ["proxy_proto"]), started_at_ms: 7 });
    await t.settled();
    const one = await RawClient.open(t.port, "127.0.0.9");
    expect(await one.send("hello").has("HELLO")).toBe("HELLO");
    one.close();
    const other = await RawClient.open(t.port);
    expect(await other.send("hello").end()).toBe("");
    other.close();
    await haproxy.stop();
    await behind.stop();
  });
});

describe("a TLS listener", () => {
  test("carries the bytes of a name whose service has no http, and the requests of one that has", async () => {
    const own = await startTestEdge({ tls: {} });
    const machine = await startRawUpstream(({ socket, text }) => {
      if (text === "\0ping") socket.write("\xfepong", "latin1");
      if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    const ports = (handlers: ("tls" | "http")[], alpn?: string[]) => ({
      services: Services.parse([{
        internal_port: machine.port,
        ports: [{ port: 443, handlers, ...(alpn === undefined ? {} : { tls_options: { alpn } }) }],
      }]),
    });
    await own.app("mail", machine.port, ports(["tls"]));
    await own.app("mqtt", machine.port, ports(["tls"], ["mqtt"]));
    await own.app("site", machine.port, ports(["tls", "http"]));
    for (
      const [name, offered, agreed] of [["mail", ["h2"], false], ["mqtt", ["h2", "mqtt"], "mqtt"]] as const
    ) {
      const socket = await secureClient(own.tlsPort, {
        servername: `${name}.test`,
        ALPNProtocols: [...offered],
      });
      expect(socket.alpnProtocol).toBe(agreed);
      let text = "";
      socket.on("data", (bytes: Buffer) => text += bytes.toString("latin1"));
      socket.write("\0ping");
      await until(() => text === "\xfepong");
      const ended = once(socket, "close");
      socket.end();
      await ended;
    }
    const site = await secureClient(own.tlsPort, { servername: "site.test" });
    expect(await ask(site, "site.test")).toStartWith("HTTP/1.1 200 OK");
    site.destroy();
    await until(() => own.edge.relay.clients.size === 0);
    await machine.stop();
    await own.stop();
  });
});

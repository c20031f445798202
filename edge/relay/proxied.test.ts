/** The PROXY protocol in and out on a real edge, checked against HAProxy and curl. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { $ } from "bun";
import { Services } from "../../control/contract/machine.ts";
import {
  RawClient,
  type RawUpstream,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";
import { PROXY_HEADER_WAIT_MS_MAX } from "./accept-proxied.ts";
import { HAPROXY, startHaproxy } from "./haproxy.fixture.ts";

if (HAPROXY === null) console.log("proxied.test: the tests against HAProxy are skipped, it is not installed");

let behind: TestEdge;
let plain: TestEdge;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ headers }) => Response.json(Object.fromEntries(headers)),
  });
  [behind, plain] = await Promise.all([
    startTestEdge({ listener: { proxy_protocol: true, h2c: true } }),
    startTestEdge(),
  ]);
  await behind.app("in", server.port!);
});
afterAll(async () => {
  await Promise.all([behind.stop(), plain.stop(), server.stop(true)]);
});

describe("PROXY headers from a proxy in front", () => {
  test("curl's is read, for HTTP/1.1 and HTTP/2, and its connection is kept", async () => {
    const url = `http://127.0.0.1:${behind.port}/`;
    // curl 7.88 cannot reuse a connection of HTTP/2 with prior knowledge, whatever it talks to.
    for (const [version, urls] of [["--http1.1", [url, url]], ["--http2-prior-knowledge", [url]]] as const) {
      const { stdout } = await $`curl -s ${version} --haproxy-protocol -H ${"Host: in.test"} ${urls}`
        .quiet();
      expect(stdout.toString().match(/"fly-client-ip":"127.0.0.1"/g)?.length).toBe(urls.length);
    }
  });

  test("the header stands before TLS, and what is inside is the header's client's", async () => {
    const secure = await startTestEdge({ listener: { proxy_protocol: true, tls: true, service_port: 443 } });
    const handlers = ["tls" as const, "http" as const];
    const ports = [{ port: 443, handlers, force_https: true }];
    await secure.app("in", server.port!, {
      services: Services.parse([{ internal_port: server.port, ports }]),
    });
    for (const version of ["--http1.1", "--http2"]) {
      const { stdout } = await $`curl -sk ${version} --haproxy-protocol --interface 127.0.0.9 \
        --connect-to in.test:443:127.0.0.1:${secure.port} https://in.test/`.quiet();
      expect(stdout.toString()).toContain('"fly-client-ip":"127.0.0.9"');
      expect(stdout.toString()).toContain('"x-forwarded-proto":"https"');
    }
    await secure.stop();
  });

  const header4 = "PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n";
  const request = "GET / HTTP/1.1\r\nHost: in.test\r\nConnection: close\r\n\r\n";

  test("the client is who the header says: for the machine, the log, and in any pieces", async () => {
    const client = await RawClient.open(behind.port);
    for (const byte of header4) {
      client.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.send(request);
    const text = await client.end();
    expect(text).toContain('"x-forwarded-for":"192.0.2.7"');
    expect(text).toContain('"fly-client-ip":"192.0.2.7"');
    client.close();
    await until(async () => (await readFile(behind.logFile, "utf8")).includes('"client":"192.0.2.7"'));
    expect(await readFile(behind.logFile, "utf8")).toContain('"client_port":5555');
  });

  test("a sender that speaks for itself, or cannot tell, is shown by its own address", async () => {
    const local = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (const header of ["PROXY UNKNOWN\r\n", local]) {
      const client = await RawClient.open(behind.port);
      expect(await client.send(header + request).end()).toContain('"fly-client-ip":"127.0.0.1"');
      client.close();
    }
  });

  test("a connection without one, or with a wrong one, gets no answer at all", async () => {
    for (const start of [request, "PROXY TCP4 1.2.3.4\r\n", `PROXY ${"x".repeat(120)}`]) {
      const client = await RawClient.open(behind.port);
      expect(await client.send(start).end()).toBe("");
      client.close();
    }
    const metrics = await (await fetch(`http://127.0.0.1:${behind.adminPort}/metrics`)).text();
    expect(metrics).toContain('limit="proxy_headers"} 3');
  });

  test("one that does not come is not waited for", async () => {
    const client = await RawClient.open(behind.port);
    client.send("PROXY TC");
    await until(() => behind.edge.relay.clients.size > 0);
    behind.edge.deadlines.sweep(performance.now() + PROXY_HEADER_WAIT_MS_MAX + 1_000);
    expect(await client.end()).toBe("");
    client.close();
  });

  for (const word of ["send-proxy", "send-proxy-v2"]) {
    test.skipIf(HAPROXY === null)(`HAProxy's ${word} is read`, async () => {
      const haproxy = await startHaproxy(
        `frontend f\n  mode http\n  bind 127.0.0.1:PORT\n  default_backend b\n` +
          `backend b\n  mode http\n  source 127.0.0.1\n  server edge 127.0.0.1:${behind.port} ${word}`,
      );
      const { stdout } = await $`curl -s --interface 127.0.0.9 -H ${"Host: in.test"} \
        http://127.0.0.1:${haproxy.port}/`.quiet();
      expect(stdout.toString()).toContain('"fly-client-ip":"127.0.0.9"');
      await haproxy.stop();
    });
  }
});

describe("PROXY headers to machines", () => {
  const asks = (port: number, version?: "v1" | "v2") => ({
    services: Services.parse([{
      internal_port: port,
      ports: [{
        port: 80,
        handlers: ["http", "proxy_proto"],
        ...(version === undefined ? {} : { proxy_proto_options: { version } }),
      }],
    }]),
  });

  for (const version of ["v1", "v2"] as const) {
    test.skipIf(HAPROXY === null)(`HAProxy accepts ${version}`, async () => {
      const haproxy = await startHaproxy(
        `frontend f\n  mode http\n  bind 127.0.0.1:PORT accept-proxy\n  default_backend b\n` +
          `backend b\n  mode http\n  http-request set-header X-Seen %[src]:%[src_port]\n` +
          `  server app 127.0.0.1:${server.port}`,
      );
      await plain.app(`out${version}`, haproxy.port, asks(haproxy.port, version));
      const { stdout } = await $`curl -s --interface 127.0.0.9 --local-port 20000-60000 \
        -H ${`Host: out${version}.test`} http://127.0.0.1:${plain.port}/`.quiet();
      expect(stdout.toString()).toMatch(/"x-seen":"127\.0\.0\.9:\d{5}"/);
      await haproxy.stop();
    });
  }

  test("are sent on each connection, which carries its own client's requests alone", async () => {
    const machine: RawUpstream = await startRawUpstream(({ socket, text }) => {
      if (text.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    await plain.app("own", machine.port, asks(machine.port));
    for (let i = 0; i < 2; i++) {
      const client = await RawClient.open(plain.port);
      const port = (client.socket.address() as { port: number }).port;
      for (let n = 1; n <= 2; n++) {
        client.send("GET / HTTP/1.1\r\nHost: own.test\r\n\r\n");
        await until(() => client.text.split("ok").length - 1 === n);
        const seen = machine.connections.at(-1)!.text;
        expect(seen).toStartWith(`PROXY TCP4 127.0.0.1 127.0.0.1 ${port} 80\r\nGET / HTTP/1.1\r\n`);
        expect(seen.split("PROXY").length).toBe(2);
      }
      client.close();
    }
    expect(machine.connections.length).toBe(4);
    await until(() => machine.connections.every(({ closed }) => closed));
    await machine.stop();
  });
});

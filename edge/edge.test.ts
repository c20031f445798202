/** A request from a client's socket to a machine's and back, with a real Redis in between for the routes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ClientConnection } from "./relay/client-connection.ts";
import { RawClient, startRawUpstream, startTestEdge, type TestEdge, until } from "./edge.fixture.ts";

let t: TestEdge;
let server: Bun.Server<unknown>;

beforeAll(async () => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => Response.json(Object.fromEntries(request.headers)),
  });
  t = await startTestEdge();
  await t.app("hello", server.port!);
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

test("edge relays a GET to the machine of its host name", async () => {
  const response = await fetch(`http://127.0.0.1:${t.port}/x`, { headers: { host: "hello.test" } });
  expect(response.status).toBe(200);
  const seen = await response.json() as Record<string, string>;
  expect(seen.host).toBe("hello.test");
  expect(seen["x-forwarded-for"]).toBe("127.0.0.1");
  expect(seen["fly-region"]).toBe("ams");
  expect(response.headers.get("server")).toBe("godwit");
  expect(response.headers.get("fly-request-id")).toBe(seen["fly-request-id"]!);
});

test("edge answers an unknown host name with its error page", async () => {
  const response = await fetch(`http://127.0.0.1:${t.port}/`, { headers: { host: "nobody.test" } });
  expect(response.status).toBe(404);
  expect(await response.text()).toContain("edge.unknown_host");
});

test("edge answers its admin pages", async () => {
  for (const path of ["/healthz", "/metrics", "/replica", "/routes?host=hello.test"]) {
    const response = await fetch(`http://127.0.0.1:${t.adminPort}${path}`);
    expect(response.status).toBe(200);
    expect((await response.text()).length).toBeGreaterThan(10);
  }
});

test(
  "a client that is slow to take its response gets all of it, idle time and drain notwithstanding",
  async () => {
    // Head and body fit one segment, so that the edge has read all of it when the client's socket is full.
    const body = "x".repeat(60_000) + "<end>";
    const upstream = await startRawUpstream(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
    const own = await startTestEdge();
    await own.app("slow", upstream.port);
    const client = await RawClient.open(own.port);
    client.socket.pause();
    await until(() => own.edge.relay.clients.size === 1);
    const [connection] = own.edge.relay.clients as Set<ClientConnection>;
    const [backend] = own.edge.routes.find("slow.test")!.services.get(80)!.near;
    let sent = 0;
    while (connection!.outbox.empty) {
      client.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n");
      sent++;
      await until(() => (backend!.inFlight === 0 && !requestsUnseen()));
    }
    function requestsUnseen(): boolean {
      return upstream.connections.reduce((sum, each) => sum + each.text.split("\r\n\r\n").length - 1, 0) <
        sent;
    }
    own.edge.deadlines.sweep(performance.now() + 100_000);
    const stopped = own.stop();
    client.socket.resume();
    const text = await client.end();
    expect(text.split("HTTP/1.1 200").length - 1).toBe(sent);
    expect(text.split("<end>").length - 1).toBe(sent);
    await stopped;
    await upstream.stop();
  },
  20_000,
);

test("an edge that is full refuses at once, holds no connection beyond its limit, and still answers its admin", async () => {
  const own = await startTestEdge({ limits: { clientConnectionsMax: 2 } });
  const inside = await Promise.all([RawClient.open(own.port), RawClient.open(own.port)]);
  await until(() => own.edge.relay.clients.size === 2);
  const beyond = await RawClient.open(own.port);
  await until(() => beyond.ended);
  expect(beyond.text).toStartWith("HTTP/1.1 503");
  expect(own.edge.relay.clients.size).toBe(2);
  const health = await RawClient.open(own.adminPort);
  health.send("GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n");
  expect(await health.has("\r\n\r\n")).toStartWith("HTTP/1.1 200");
  for (const client of [...inside, beyond, health]) client.close();
  await own.stop();
});

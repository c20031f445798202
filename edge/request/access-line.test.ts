import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Trace } from "../trace/trace.ts";
import type { Downstream } from "../relay/downstream.ts";
import { RequestHead } from "../relay/request-head.ts";
import { AppRoute } from "../routes/app-route.ts";
import { Backend } from "../routes/backend.ts";
import { AccessLines, LINE_BYTES_MAX } from "./access-line.ts";
import { Exchange } from "./exchange.ts";
import { LineBuffer } from "./line-buffer.ts";

const client = (fields: Partial<Downstream> = {}) =>
  ({
    listener: { servicePort: 443, admin: false },
    address: "192.0.2.7",
    port: 50_123,
    protocol: "1.1",
    serverName: null,
    ...fields,
  }) as Downstream;

function exchangeOf(head: Partial<RequestHead> = {}, from: Downstream = client()): Exchange {
  const exchange = new Exchange(
    from,
    Object.assign(new RequestHead(), { method: "GET", target: "/" }, head),
    1_000,
  );
  exchange.id = "01KAS000000000000000000000-ams";
  exchange.status = 200;
  return exchange;
}

function lineOf(exchange: Exchange, endedMs = 1_001.5): string {
  const into = new LineBuffer(LINE_BYTES_MAX);
  new AccessLines("ams").write(into, exchange, endedMs, 1_700_000_000_123);
  expect(into.lines).toBe(1);
  return into.bytes.toString("latin1", 0, into.at);
}

test("an access line says who asked, what for, who answered, how long each part took", () => {
  const exchange = exchangeOf(
    { host: "a.test", target: "/x?y=1", userAgent: "curl/8" },
    client({ serverName: "a.test", tlsVersion: "TLSv1.3", protocol: "2" }),
  );
  exchange.app = new AppRoute("0".repeat(20));
  exchange.app.name = "shop";
  exchange.servedBy = new Backend("9080e6f3aabbcc", "fra", "10.0.0.2", 8_080);
  Object.assign(exchange, { sends: 2, load: 7, connectMs: 0.25, heldMs: 12.0005, respondedMs: 1_001.25 });
  Object.assign(exchange, { bytesIn: 12, bytesOut: 3_456_789 });
  expect(JSON.parse(lineOf(exchange))).toEqual({
    at_ms: 1_700_000_000_123,
    request_id: "01KAS000000000000000000000-ams",
    client: "192.0.2.7",
    client_port: 50_123,
    edge_region: "ams",
    service_port: 443,
    protocol: "HTTP/2",
    tls: "TLSv1.3",
    server_name: "a.test",
    method: "GET",
    host: "a.test",
    target: "/x?y=1",
    status: 200,
    code: null,
    app: "shop",
    machine: "9080e6f3aabbcc",
    machine_region: "fra",
    upstream: "10.0.0.2:8080",
    attempts: 2,
    reused: false,
    held_ms: 12.001,
    connect_ms: 0.25,
    load: 7,
    first_byte_ms: 1.25,
    total_ms: 1.5,
    bytes_in: 12,
    bytes_out: 3_456_789,
    user_agent: "curl/8",
  });
});

test("an access line has the same keys in the same order whatever became of the request", () => {
  const served = exchangeOf({ userAgent: "x" });
  served.app = new AppRoute("1".repeat(20));
  served.servedBy = new Backend("9080e6f3aabbcc", "ams", "10.0.0.2", 8_080);
  served.sends = 1;
  const refused = exchangeOf({ method: "", target: "" });
  refused.code = "edge.bad_request";
  const unserved = exchangeOf();
  unserved.app = served.app;
  const traced = exchangeOf();
  traced.trace = { traceId: "0af7651916cd43dd8448eb211c80319c" } as Trace;
  const keys = [served, refused, unserved].map((exchange) => Object.keys(JSON.parse(lineOf(exchange))));
  expect(keys[1]).toEqual(keys[0]!);
  expect(keys[2]).toEqual(keys[0]!);
  const { trace_id } = JSON.parse(lineOf(traced));
  expect(trace_id).toBe("0af7651916cd43dd8448eb211c80319c");
  expect(JSON.parse(lineOf(refused))).toMatchObject({ attempts: 0, reused: null, app: null, machine: null });
  expect(JSON.parse(lineOf(unserved)).app).toBe("1".repeat(20));
});

test("an access line names HTTP/1.0, and forgets it for the connection's next request", () => {
  const lines = new AccessLines("ams");
  const from = client();
  const protocols = ([0, 1, 0] as const).map((minor) => {
    const into = new LineBuffer(LINE_BYTES_MAX);
    lines.write(into, exchangeOf({ minor }, from), 1_001, 1);
    return JSON.parse(into.bytes.toString("latin1", 0, into.at)).protocol;
  });
  expect(protocols).toEqual(["HTTP/1.0", "HTTP/1.1", "HTTP/1.0"]);
});

test("an access line is one line of printable ASCII, valid JSON and bounded, whatever a client sends", () => {
  const anything = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)) });
  const long = fc.integer({ min: 0, max: 20_000 }).map((n) => "\u009b".repeat(n));
  fc.assert(
    fc.property(fc.oneof(anything, long), fc.oneof(anything, long), (target, userAgent) => {
      const line = lineOf(exchangeOf({ target, userAgent }));
      expect(line.length).toBeLessThanOrEqual(LINE_BYTES_MAX);
      expect(line).toMatch(/^[\x20-\x7e]+\n$/);
      const parsed = JSON.parse(line);
      if (target.length <= 2_048) expect(parsed.target).toBe(target);
      else expect(parsed.target).toBe(`${target.slice(0, 2_048)}…`);
      if (userAgent.length <= 512) expect(parsed.user_agent).toBe(userAgent);
    }),
  );
});

test("LineBuffer writes whole numbers and durations as JSON reads them", () => {
  fc.assert(
    fc.property(
      fc.maxSafeInteger().map(Math.abs),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (whole, ms) => {
        const into = new LineBuffer(100);
        into.whole(whole);
        into.text(" ");
        into.duration(ms);
        const [first, second] = into.bytes.toString("latin1", 0, into.at).split(" ").map(Number);
        expect(first).toBe(whole);
        expect(Math.abs(second! - ms)).toBeLessThan(0.000_6);
      },
    ),
  );
  const into = new LineBuffer(100);
  into.duration(-5);
  expect(into.bytes.toString("latin1", 0, into.at)).toBe("0.000");
});

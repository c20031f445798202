/** Spans of a real edge, as a real OTLP/HTTP collector gets them. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import { closedPort, idOf, RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number };
  readonly attributes: { key: string; value: Record<string, unknown> }[];
}
const [SERVER, CLIENT, ERROR] = [2, 3, 2];
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

let spans: Span[] = [];
let collector: Bun.Server<unknown>;
let server: Bun.Server<unknown>;
let seen: Headers[] = [];
let t: TestEdge;
let off: TestEdge;
beforeAll(async () => {
  collector = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const body = await request.json() as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
      spans.push(
        ...body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
      );
      return Response.json({});
    },
  });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      seen.push(request.headers);
      return new Response("hello", { status: request.url.endsWith("/broken") ? 500 : 200 });
    },
  });
  const otlp_url = `http://127.0.0.1:${collector.port}/v1/traces`;
  t = await startTestEdge({ tracing: { otlp_url, sample_ratio: 1 } });
  off = await startTestEdge();
  for (const each of [t, off]) await each.app("traced", server.port!);
});
afterAll(async () => {
  await Promise.all([t.stop(), off.stop()]);
  await Promise.all([collector.stop(true), server.stop(true)]);
});
beforeEach(() => {
  spans = [];
  seen = [];
});

const get = (edge: TestEdge, path = "/", headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${edge.port}${path}`, { headers: { host: "traced.test", ...headers } });
async function collected(count: number): Promise<{ server: Span; attempts: Span[] }> {
  await until(async () => {
    await t.edge.tracing!.flush();
    return spans.length >= count;
  });
  expect(spans.length).toBe(count);
  const [root, ...more] = spans.filter(({ kind }) => kind === SERVER);
  expect(more).toEqual([]);
  return { server: root!, attempts: spans.filter(({ kind }) => kind === CLIENT) };
}
const attributes = (span: Span) =>
  Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

test("a request is a server span with its attempt below it, and the machine's parent is the attempt", async () => {
  const response = await get(t, "/path?x=1", {
    traceparent: `00-${TRACE}-${PARENT}-01`,
    tracestate: "rojo=1, congo=2",
    "user-agent": "test",
  });
  await response.text();
  const { server: root, attempts } = await collected(2);
  const [attempt] = attempts;
  expect([root.traceId, root.parentSpanId, root.name]).toEqual([TRACE, PARENT, "GET"]);
  expect([attempt!.traceId, attempt!.parentSpanId, attempt!.name]).toEqual([TRACE, root.spanId, "GET"]);
  expect(seen[0]!.get("traceparent")).toBe(`00-${TRACE}-${attempt!.spanId}-01`);
  expect(seen[0]!.get("tracestate")).toBe("rojo=1,congo=2");
  expect(attributes(root)).toMatchObject({
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "url.scheme": "http",
    "url.path": "/path",
    "url.query": "x=1",
    "server.address": "traced.test",
    "server.port": 80,
    "client.address": "127.0.0.1",
    "network.protocol.version": "1.1",
    "user_agent.original": "test",
    "godwit.app": "traced",
    "godwit.edge.region": "ams",
    "godwit.request_id": response.headers.get("fly-request-id"),
    "http.response.body.size": 5,
  });
  expect(attributes(attempt!)).toMatchObject({
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "url.full": `http://127.0.0.1:${server.port}/path?x=1`,
    "server.address": "127.0.0.1",
    "server.port": server.port,
    "godwit.machine": idOf("mtraced", 14),
  });
  for (const span of [root, attempt!]) expect(span.status.code).not.toBe(ERROR);
  // Nested in time too.
  const [from, to] = [BigInt(root.startTimeUnixNano), BigInt(root.endTimeUnixNano)];
  expect(BigInt(attempt!.startTimeUnixNano) >= from && BigInt(attempt!.endTimeUnixNano) <= to).toBe(true);
  const skewMs = Math.abs(Number(from / 1_000_000n) - Date.now());
  expect(skewMs).toBeLessThan(60_000);
});

test("a request without a context, or with one that is not valid, begins a trace", async () => {
  for (const headers of [{}, { traceparent: `00-${TRACE}-${"0".repeat(16)}-01`, tracestate: "rojo=1" }]) {
    [spans, seen] = [[], []];
    await (await get(t, "/", headers)).text();
    const { server: root } = await collected(2);
    expect(root.parentSpanId ?? "").toBe("");
    expect(root.traceId).not.toBe(TRACE);
    expect(seen[0]!.get("traceparent")).toContain(root.traceId);
    expect(seen[0]!.get("tracestate")).toBeNull();
  }
});

test("a client's decision not to be sampled is kept and passed on", async () => {
  await (await get(t, "/", { traceparent: `00-${TRACE}-${PARENT}-00` })).text();
  await (await get(t)).text();
  await collected(2);
  expect(spans.some(({ traceId }) => traceId === TRACE)).toBe(false);
  expect(seen[0]!.get("traceparent")).toMatch(new RegExp(`^00-${TRACE}-(?!${PARENT})[0-9a-f]{16}-00$`));
});

test("attempts that failed are spans of their own, with what failed them", async () => {
  await t.app("half", await closedPort(), { id: idOf("dead", 14) });
  await t.machine("half", server.port!, { id: idOf("live", 14) });
  await t.settled();
  let attempts: Span[] = [];
  await until(async () => {
    spans = [];
    await (await get(t, "/", { host: "half.test" })).text();
    await until(async () => {
      await t.edge.tracing!.flush();
      return spans.some(({ kind }) => kind === SERVER);
    });
    attempts = spans.filter(({ kind }) => kind === CLIENT);
    return attempts.length > 1;
  });
  const [first, second] = attempts;
  expect(attributes(first!)).toMatchObject({ "error.type": "refused", "godwit.machine": idOf("dead", 14) });
  expect(first!.status.code).toBe(ERROR);
  expect(attributes(second!)).toMatchObject({
    "http.request.resend_count": 1,
    "http.response.status_code": 200,
  });
  const root = spans.find(({ kind }) => kind === SERVER)!;
  expect(attempts.every(({ parentSpanId }) => parentSpanId === root.spanId)).toBe(true);
  expect(root.status.code).not.toBe(ERROR);
});

test("errors are marked: an app's 500, a refusal, a request that cannot be read", async () => {
  await (await get(t, "/broken")).text();
  const broken = await collected(2);
  expect(attributes(broken.server)).toMatchObject({ "error.type": "500", "http.response.status_code": 500 });
  expect(broken.server.status.code).toBe(ERROR);
  expect(broken.attempts[0]!.status.code).toBe(ERROR);

  spans = [];
  await (await get(t, "/", { host: "nobody.test" })).text();
  const refused = await collected(1);
  expect(attributes(refused.server)).toMatchObject({ "error.type": "edge.unknown_host" });
  // The client's fault is no error of a server (semantic conventions, span status).
  expect(refused.server.status.code).not.toBe(ERROR);

  spans = [];
  const client = await RawClient.open(t.port);
  await client.send("FROB /x HTTP/1.1\r\nHost: traced.test\r\nConnection: close\r\n\r\n").end();
  const odd = await collected(2);
  expect(odd.server.name).toBe("HTTP");
  expect(attributes(odd.server)).toMatchObject({
    "http.request.method": "_OTHER",
    "http.request.method_original": "FROB",
  });
});

test("spans are counted, and the access log names the trace", async () => {
  await (await get(t, "/logged", { traceparent: `00-${TRACE}-${PARENT}-01` })).text();
  await collected(2);
  const page = readExposition(await (await fetch(`http://127.0.0.1:${t.adminPort}/metrics`)).text());
  const count = (outcome: string) => valueOf(page, "godwit_edge_spans_count", { outcome });
  expect(count("exported")).toBe(count("recorded"));
  expect(count("failed")).toBe(0);
  await until(async () =>
    (await Bun.file(t.logFile).text()).split("\n").some((line) =>
      line.includes('"target":"/logged"') && line.includes(`"trace_id":"${TRACE}"`)
    )
  );
});

test("without tracing a context goes to the machine as it came, valid or not", async () => {
  const headers = { traceparent: "anything at all", tracestate: "a b c" };
  await (await get(off, "/", headers)).text();
  expect(Object.fromEntries(seen[0]!)).toMatchObject(headers);
  expect(off.edge.tracing).toBeNull();
});

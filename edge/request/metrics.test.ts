/** The metrics page of a real edge: readable to the letter, and its numbers true. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import { closedPort, RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";
import { AppRoute } from "../routes/app-route.ts";
import { Registry } from "prom-client";
import { CountedApps } from "./app-counts.ts";
import { bucketOf } from "./histogram.ts";

let t: TestEdge;
let server: Bun.Server<unknown>;
let waiting: (() => void)[] = [];
beforeAll(async () => {
  t = await startTestEdge({ limits: { upstreamIdlePerMachineMax: 1 } });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      if (request.url.endsWith("/slow")) await new Promise<void>((resolve) => waiting.push(resolve));
      return new Response("x".repeat(100), { status: request.url.endsWith("/418") ? 418 : 200 });
    },
  });
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

const page = async () => {
  const response = await fetch(`http://127.0.0.1:${t.adminPort}/metrics`);
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  return readExposition(await response.text());
};
const get = (host: string, path = "/") =>
  fetch(`http://127.0.0.1:${t.port}${path}`, { headers: { host } }).then(async (response) => {
    await response.text();
    return response.status;
  });

test("metrics of a fresh edge are a valid page with the reference's names", async () => {
  const families = await page();
  for (
    const name of [
      "fly_edge_http_responses_count",
      "fly_edge_http_response_time_seconds",
      "fly_edge_tcp_connects_count",
      "fly_edge_tcp_disconnects_count",
      "fly_edge_tcp_connections_drop_count",
      "fly_edge_data_in",
      "fly_edge_data_out",
      "fly_app_concurrency",
      "fly_app_http_responses_count",
      "fly_app_http_response_time_seconds",
      "fly_app_connect_time_seconds",
      "fly_app_tcp_connects_count",
      "fly_app_tcp_disconnects_count",
      "godwit_edge_limit_met_count",
    ]
  ) expect(families.has(name), name).toBe(true);
  for (const name of families.keys()) {
    expect(name).toMatch(/^(fly_(edge|app)|godwit_(edge|app|replica))_[a-z_]+$/);
  }
});

test("metrics count each request once, for the edge and for its app", async () => {
  await t.app("counted", server.port!);
  await t.app("broken", await closedPort());
  for (let i = 0; i < 5; i++) expect(await get("counted.test")).toBe(200);
  expect(await get("counted.test", "/418")).toBe(418);
  expect(await get("broken.test")).toBe(502);
  expect(await get("nobody.test")).toBe(404);
  const families = await page();
  const app = { app: "counted" };
  expect(valueOf(families, "fly_edge_http_responses_count", { status: "418" })).toBe(1);
  expect(valueOf(families, "fly_edge_http_responses_count", { status: "200" })).toBe(5);
  expect(valueOf(families, "fly_app_http_responses_count", { ...app, status: "200" })).toBe(5);
  expect(valueOf(families, "fly_app_http_responses_count", { ...app, status: "418" })).toBe(1);
  expect(valueOf(families, "fly_app_http_response_time_seconds_count", app)).toBe(6);
  expect(valueOf(families, "godwit_app_data_out", app)).toBe(600);
  expect(valueOf(families, "fly_app_http_responses_count", { app: "broken", status: "502" })).toBe(1);
  expect(valueOf(families, "godwit_edge_refusals_count", { code: "edge.machine_refused" })).toBe(1);
  expect(valueOf(families, "godwit_edge_refusals_count", { code: "edge.unknown_host" })).toBe(1);
  expect(valueOf(families, "fly_app_tcp_connects_count", app)).toBe(
    valueOf(families, "fly_app_connect_time_seconds_count", app),
  );
  expect(valueOf(families, "fly_app_tcp_connects_count", { app: "broken" })).toBe(0);
});

test("metrics show what is under way, connections that end, and a pool that is full", async () => {
  const slow = [await RawClient.open(t.port), await RawClient.open(t.port)];
  const before = await page();
  for (const client of slow) client.send("GET /slow HTTP/1.1\r\nHost: counted.test\r\n\r\n");
  const concurrency = async () => valueOf(await page(), "fly_app_concurrency", { app: "counted" });
  await until(async () => await concurrency() === 2);
  await until(() => waiting.length === 2);
  for (const answer of waiting) answer();
  waiting = [];
  for (const client of slow) await client.has("xxx");
  // Two connections came back to a pool with one place.
  const limits = async (families?: typeof before) =>
    valueOf(families ?? await page(), "godwit_edge_limit_met_count", { limit: "upstream_idle_connections" });
  await until(async () => await limits() > 0);
  const gone = async () => valueOf(await page(), "fly_app_tcp_disconnects_count", { app: "counted" });
  expect(await gone()).toBeGreaterThan(0);
  for (const client of slow) client.close();
  const ended = (families: typeof before) => valueOf(families, "fly_edge_tcp_disconnects_count");
  await until(async () => ended(await page()) >= ended(before) + 2);
  const after = await page();
  expect(valueOf(after, "fly_edge_tcp_connects_count")).toBeGreaterThanOrEqual(ended(after));
});

test("CountedApps gives the first apps a label of their own, and a gone app's to the next", async () => {
  const registry = new Registry();
  const counted = new CountedApps(registry, 2);
  const app = (name: string) => Object.assign(new AppRoute(name.repeat(20)), { name });
  const request = (route: AppRoute) => (route.counts ?? counted.of(route)).response(200, bucketOf(0.1), 0.1);
  const [a, b, c, d] = [app("a"), app("b"), app("c"), app("d")] as const;
  for (const route of [a, b, c, a, c, d]) request(route);
  const counts = async () => {
    const { samples } = readExposition(await registry.metrics()).get("fly_app_http_responses_count")!;
    return Object.fromEntries(samples.map(({ labels, value }) => [labels.app, value]));
  };
  expect(await counts()).toEqual({ a: 2, b: 1, _other: 3 });
  expect(counted.unnamed).toBe(2);
  Object.assign(a, { name: null });
  const e = app("e");
  request(e);
  expect(await counts()).toEqual({ b: 1, e: 1, _other: 3 });
  // What is still under way for the app that is gone starts anew and disturbs nobody.
  expect(a.counts).toBeNull();
  request(a);
  expect((await counts())._other).toBe(4);
});

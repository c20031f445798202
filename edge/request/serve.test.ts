/** The stages on a real edge: what users see when things are missing, late, full or changing. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import {
  closedPort,
  HOST_ID,
  idOf,
  RawClient,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";

let t: TestEdge;
let server: Bun.Server<unknown>;
beforeAll(async () => {
  t = await startTestEdge({ holdWaitMsMax: 800, holdWaitersMax: 50 });
  server = serveText("ok");
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

function serveText(text: string, port = 0): Bun.Server<unknown> {
  return Bun.serve({ port, hostname: "127.0.0.1", fetch: () => new Response(text) });
}
const get = (host: string, headers: Record<string, string> = {}, path = "/") =>
  fetch(`http://127.0.0.1:${t.port}${path}`, { headers: { host, ...headers } });
const service = (port: number, hard: number | null = null) => [{
  protocol: "tcp" as const,
  internal_port: port,
  ports: [{ port: 80, handlers: ["http" as const], force_https: false }],
  concurrency: { type: "requests" as const, soft_limit: 20, hard_limit: hard },
}];

describe("error pages", () => {
  test("an unknown host is 404 with code, request id and advice, as HTML or JSON", async () => {
    const html = await get("nobody.test");
    expect(html.status).toBe(404);
    expect(html.headers.get("content-type")).toStartWith("text/html");
    const page = await html.text();
    expect(page).toContain("edge.unknown_host");
    expect(page).toContain(html.headers.get("fly-request-id")!);
    const json = await get("nobody.test", { accept: "application/json" });
    const body = await json.json() as { error: { code: string }; request_id: string };
    expect(body.error.code).toBe("edge.unknown_host");
    expect(body.request_id).toBe(json.headers.get("fly-request-id")!);
    expect(json.headers.get("fly-error-code")).toBe("PR04");
  });

  test("an app without a started machine is 503", async () => {
    await t.app("stopped", server.port!, { state: "stopped" });
    const response = await get("stopped.test");
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.text()).toContain("edge.no_machine");
  });

  test("a cordoned machine gets no request", async () => {
    await t.app("cordoned", server.port!, { cordoned: true });
    expect((await get("cordoned.test")).status).toBe(503);
  });

  test("a machine that refuses the connection is 502", async () => {
    await t.app("refusing", await closedPort());
    const response = await get("refusing.test");
    expect(response.status).toBe(502);
    expect(await response.text()).toContain("edge.machine_refused");
  });

  test("a refusing machine costs no request while another serves", async () => {
    await t.app("half", await closedPort(), { id: idOf("dead", 14) });
    await t.machine("half", server.port!, { id: idOf("live", 14) });
    await t.settled();
    for (let i = 0; i < 20; i++) expect((await get("half.test")).status).toBe(200);
  });
});

describe("hold", () => {
  test("a request for a starting machine waits for it, woken by its row", async () => {
    await t.app("late", server.port!, { state: "starting" });
    const waiting = Array.from({ length: 10 }, () => get("late.test"));
    await until(() => t.edge.routes.find("late.test")!.services.get(80)!.waiters.size === 10);
    await t.machine("late", server.port!, { started_at_ms: Date.now() });
    for (const response of await Promise.all(waiting)) expect(response.status).toBe(200);
  });

  test("a request with a body waits with it", async () => {
    const echo = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (r) => new Response(await r.text()),
    });
    await t.app("latebody", echo.port!, { state: "starting" });
    const body = "b".repeat(300_000);
    const waiting = fetch(`http://127.0.0.1:${t.port}/`, {
      method: "POST",
      headers: { host: "latebody.test" },
      body,
    });
    await until(() => t.edge.routes.find("latebody.test")!.services.get(80)!.waiters.size === 1);
    await t.machine("latebody", echo.port!, { started_at_ms: Date.now() });
    expect(await (await waiting).text()).toBe(body);
    await echo.stop(true);
  });

  test("a machine that has started but does not listen yet is tried until it does", async () => {
    const port = await closedPort();
    await t.app("warming", port, { started_at_ms: Date.now() });
    const waiting = Array.from({ length: 5 }, () => get("warming.test"));
    await until(() => t.edge.routes.find("warming.test")!.services.get(80)!.waiters.size > 0);
    const late = serveText("here now", port);
    for (const response of await Promise.all(waiting)) expect(await response.text()).toBe("here now");
    await late.stop(true);
  });

  test("a wait ends in 503 at its limit", async () => {
    await t.app("never", server.port!, { state: "starting" });
    const response = await get("never.test");
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("No machine of the app became ready in time");
  });

  test("no more wait than may", async () => {
    await t.app("crowd", server.port!, { state: "starting" });
    const all = await Promise.all(Array.from({ length: 60 }, () => get("crowd.test").then((r) => r.text())));
    expect(all.filter((text) => text.includes("edge.too_many_waiting")).length).toBe(10);
  });

  test("a client that leaves waits no longer", async () => {
    await t.app("left", server.port!, { state: "starting" });
    const timed = t.edge.deadlines.size;
    const client = await RawClient.open(t.port);
    client.send("GET / HTTP/1.1\r\nHost: left.test\r\n\r\n");
    const waiters = () => t.edge.routes.find("left.test")!.services.get(80)!.waiters.size;
    await until(() => waiters() === 1);
    client.socket.resetAndDestroy();
    await until(() => waiters() === 0);
    expect(t.edge.deadlines.size).toBeLessThanOrEqual(timed);
  });

  test("at the hard limit requests queue for a place, and none goes past it", async () => {
    let now = 0, most = 0;
    const slow = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch() {
        most = Math.max(most, ++now);
        await Bun.sleep(5);
        now--;
        return new Response("done");
      },
    });
    await t.app("narrow", slow.port!, { services: service(slow.port!, 2) });
    const all = await Promise.all(Array.from({ length: 20 }, () => get("narrow.test").then((r) => r.status)));
    expect(all.every((status) => status === 200)).toBe(true);
    expect(most).toBe(2);
    await slow.stop(true);
  });
});

describe("headers", () => {
  test("the app learns who asked, whatever the client claims", async () => {
    const echo = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => Response.json(Object.fromEntries(request.headers)),
    });
    await t.app("headers", echo.port!);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const response = await get("headers.test", {
      "fly-client-ip": "6.6.6.6",
      "fly-region": "xxx",
      "x-forwarded-for": "9.9.9.9",
      "x-forwarded-proto": "https",
      "fly-request-id": "mine",
      traceparent,
    });
    const seen = await response.json() as Record<string, string>;
    expect(seen).toMatchObject({
      "fly-client-ip": "127.0.0.1",
      "fly-forwarded-port": "80",
      "fly-region": "ams",
      "x-forwarded-for": "9.9.9.9, 127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-port": "80",
      "x-forwarded-ssl": "off",
      via: "1.1 godwit",
      traceparent,
    });
    expect(seen["fly-request-id"]).toMatch(/^[0-9A-Z]{26}-ams$/);
    expect(response.headers.get("via")).toBe("1.1 godwit");
    await echo.stop(true);
  });
});

describe("changes", () => {
  test("a route changes under load without a failed request", async () => {
    const [one, two] = [serveText("one"), serveText("two")];
    await t.app("moving", one.port!, { id: idOf("one", 14) });
    let running = true, failures = 0, requests = 0;
    const seen = new Set<string>();
    const load = Array.from({ length: 8 }, async () => {
      while (running) {
        const response = await get("moving.test");
        requests++;
        if (response.status !== 200) failures++;
        seen.add(await response.text());
      }
    });
    for (let i = 0; i < 50; i++) {
      const [up, down] = i % 2 === 0 ? [two, one] : [one, two];
      const idOfServer = (s: typeof one) => idOf(s === one ? "one" : "two", 14);
      await t.machine("moving", up.port!, { id: idOfServer(up) });
      await t.machine("moving", down.port!, { id: idOfServer(down), cordoned: true });
      await t.settled();
    }
    running = false;
    await Promise.all(load);
    expect(failures).toBe(0);
    expect([...seen].sort()).toEqual(["one", "two"]);
    expect(requests).toBeGreaterThan(50);
    await Promise.all([one.stop(true), two.stop(true)]);
  });

  test("a destroyed machine and a removed host name are gone", async () => {
    await t.app("gone", server.port!);
    expect((await get("gone.test")).status).toBe(200);
    await t.publish("machines", `${HOST_ID}/${idOf("mgone", 14)}`, null);
    await t.settled();
    expect((await get("gone.test")).status).toBe(503);
    await t.publish("hostnames", "gone.test", null);
    await t.settled();
    expect((await get("gone.test")).status).toBe(404);
  });
});

describe("tally", () => {
  test("one log line for each request, refusals included", async () => {
    await t.app("logged", server.port!);
    expect((await get("logged.test", {}, `/${"q".repeat(50)}?"<>`)).status).toBe(200);
    const bad = await RawClient.open(t.port);
    await bad.send("GET /logged-bad HTTP/1.1\r\nHost: x\r\nX : 1\r\n\r\n").end();
    const lines = async () =>
      (await readFile(t.logFile, "utf8")).trim().split("\n").map((line) => JSON.parse(line));
    await until(async () => (await lines()).some((line) => line.code === "edge.bad_request"));
    const all = await lines();
    const mine = all.filter((line) => line.host === "logged.test");
    expect(mine.length).toBe(1);
    expect(mine[0]).toMatchObject({ status: 200, app: "logged", method: "GET", bytes_out: 2, code: null });
    expect(mine[0].machine).toBe(idOf("mlogged", 14));
    const metrics = await (await fetch(`http://127.0.0.1:${t.adminPort}/metrics`)).text();
    expect(metrics).toMatch(/fly_edge_http_responses_count\{status="200"\} \d+/);
    expect(metrics).toContain('godwit_edge_refusals_count{code="edge.bad_request"}');
    expect(metrics).toMatch(/fly_edge_http_response_time_seconds_bucket\{status="200",le="\+Inf"\} \d+/);
  });

  test("in-flight counts return to zero", () => {
    for (const name of ["late", "moving", "narrow", "warming", "half", "headers"]) {
      for (const route of t.edge.routes.find(`${name}.test`)!.services.values()) {
        for (const backend of route.backends()) expect(backend.inFlight).toBe(0);
      }
    }
  });
});

/** Explanations of a real edge, each beside the request that it explains. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Services } from "../../control/contract/machine.ts";
import { Explanation } from "../../control/contract/explanation.ts";
import type { Starts } from "../balance/starts.ts";
import { explain } from "./explain.ts";
import {
  closedPort,
  HOST_ID,
  idOf,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";

let t: TestEdge;
let server: Bun.Server<unknown>;
beforeAll(async () => {
  t = await startTestEdge({ regions: ["ams", "fra"] });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => new Response(request.headers.get("fly-region")),
  });
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
});

async function ask(url: string, more: Record<string, string> = {}): Promise<Explanation> {
  const query = new URLSearchParams({ url, ...more });
  const response = await fetch(`http://127.0.0.1:${t.adminPort}/explain?${query}`);
  expect(response.status).toBe(200);
  return Explanation.parse(await response.json());
}
const request = (host: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${t.port}/`, { headers: { host, ...headers } });
const verdicts = ({ machines }: Explanation) =>
  Object.fromEntries(machines.map(({ id, verdict }) => [id, verdict]));
const decisions = ({ stages }: Explanation) => stages.map(({ stage, decision }) => `${stage} ${decision}`);
const id = (name: string) => idOf(name, 14);

test("explain names the machine, the stages and the rows with their versions", async () => {
  await t.app("plain", server.port!, { id: id("only") });
  const explained = await ask(`http://plain.test:${t.port}/x`);
  expect(decisions(explained)).toEqual(["accept passed", "find passed", "pick passed", "send sent"]);
  expect(verdicts(explained)).toEqual({ [id("only")]: "picked" });
  expect(explained.refusal).toBeNull();
  expect(explained.rows.map(({ table, key, owner }) => `${table} ${key} ${owner}`)).toEqual([
    "hostnames plain.test api",
    `apps ${idOf("plain")} api`,
    `machines ${HOST_ID}/${id("only")} worker:${HOST_ID}`,
  ]);
  for (const { version, published_ms } of explained.rows) {
    expect(version!.epoch).toBe(1);
    expect(published_ms).toBeGreaterThan(1_700_000_000_000);
  }
});

test("a port without the http handler carries no requests, and explain says so", async () => {
  let heard = false;
  const machine = await startRawUpstream(() => heard = true);
  const services = Services.parse([{
    internal_port: machine.port,
    ports: [{ port: 80, handlers: [] }, { port: 443, handlers: ["tls"] }],
  }]);
  await t.app("bytes", machine.port, { services });
  const response = await request("bytes.test");
  expect(response.status).toBe(503);
  expect(response.headers.get("fly-error-code")).toBe("PR01");
  expect(await response.text()).toContain("edge.no_http_handler");
  expect(heard).toBe(false);
  const explained = await ask(`http://bytes.test:${t.port}/`);
  expect(explained.refusal?.code).toBe("edge.no_http_handler");
  expect(decisions(explained)).toEqual(["accept passed", "find refused"]);
  await t.machine("bytes", server.port!);
  await t.settled();
  expect((await request("bytes.test")).status).toBe(200);
  await machine.stop();
});

test("explain says why each machine is passed over", async () => {
  await t.app("many", server.port!, { id: id("near") });
  const odd = {
    cord: { cordoned: true },
    sick: { healthy: false },
    stop: { state: "stopped" },
    start: { state: "starting" },
    fail: { state: "failed" },
    far: { region: "fra" },
  } as const;
  for (const [name, fields] of Object.entries(odd)) {
    await t.machine("many", server.port!, { id: id(name), ...fields });
  }
  await t.machine("many", server.port!, {
    id: id("port"),
    services: [{
      protocol: "tcp",
      internal_port: 1,
      ports: [{ port: 25, handlers: [], force_https: false }],
      concurrency: { type: "requests", soft_limit: 1, hard_limit: null },
    }],
  });
  await t.settled();
  await until(() => t.edge.routes.find("many.test")!.machines.length === 8);
  const explained = await ask("http://many.test/");
  expect(verdicts(explained)).toEqual({
    [id("near")]: "picked",
    [id("far")]: "farther",
    [id("sick")]: "unhealthy",
    [id("start")]: "starting",
    [id("stop")]: "startable",
    [id("fail")]: "not_started",
    [id("cord")]: "cordoned",
    [id("port")]: "other_port",
  });
  expect(explained.machines[0]!.verdict).toBe("picked");
});

test("explain decides as an edge of another region would", async () => {
  expect(verdicts(await ask("http://many.test/", { region: "fra" }))).toMatchObject({
    [id("far")]: "picked",
    [id("near")]: "farther",
  });
});

test("explain heeds the request's own fields", async () => {
  const explained = await ask("http://many.test/", { field: "fly-force-region: fra" });
  expect(verdicts(explained)).toMatchObject({ [id("far")]: "picked", [id("near")]: "not_wanted" });
  const nowhere = await ask("http://many.test/", { field: "fly-force-region: syd" });
  const real = await request("many.test", { "fly-force-region": "syd" });
  expect(nowhere.refusal).toMatchObject({ status: real.status, code: "edge.region_unavailable" });
  expect(await real.text()).toContain("edge.region_unavailable");
});

test("explain refuses what the edge refuses, at the same stage and with the same code", async () => {
  await t.app("resting", server.port!, { state: "stopped", id: id("rest") });
  await t.app("later", server.port!, { state: "starting", id: id("later") });
  const cases: [string, string, string[]][] = [
    ["http://nobody.test/", "edge.unknown_host", ["accept passed", "find refused"]],
    ["http://plain.test:8888/", "edge.no_machine", ["accept passed", "find refused"]],
    ["http://resting.test/", "edge.no_machine", ["accept passed", "find passed", "pick refused"]],
    ["http://plain.test/?field=X%20:%201", "edge.bad_request", ["accept refused"]],
  ];
  for (const [url, code, stages] of cases) {
    const field = new URL(url).searchParams.get("field");
    const explained = await ask(url, field === null ? {} : { field });
    expect(explained.refusal?.code, url).toBe(code);
    expect(decisions(explained), url).toEqual(stages);
  }
  const waits = await ask("http://later.test/");
  expect(decisions(waits)).toEqual(["accept passed", "find passed", "pick waits", "hold waits"]);
  expect(waits.stages[3]!.text).toBe("at most 30 s, behind 0 requests");
});

test("explain says what a service's policies would do", async () => {
  const port = (http_options: object, force_https = false) => [{
    protocol: "tcp" as const,
    internal_port: server.port!,
    ports: [{ port: 80, handlers: ["http" as const], force_https, http_options }],
    concurrency: { type: "requests" as const, soft_limit: 20, hard_limit: null },
  }];
  await t.app("secure", server.port!, { services: port({}, true) });
  const redirected = await ask("http://secure.test/");
  expect(redirected.refusal).toMatchObject({ status: 301, code: "edge.https_required" });
  expect(decisions(redirected).at(-1)).toBe("admit refused");
  const real = await fetch(`http://127.0.0.1:${t.port}/`, {
    headers: { host: "secure.test" },
    redirect: "manual",
  });
  expect(real.status).toBe(301);
  await t.app("rated", server.port!, { services: port({ rate_limit: { requests: 1, per_s: 60 } }) });
  for (let i = 0; i < 3; i++) {
    const { stages } = await ask("http://rated.test/");
    expect(stages[2]).toMatchObject({
      stage: "admit",
      text: "if its client keeps within the service's rate",
    });
  }
  expect((await request("rated.test")).status).toBe(200);
});

test("explain shows a machine that was passed over because it failed, and for how long", async () => {
  await t.app("flaky", await closedPort(), { id: id("dead") });
  await t.machine("flaky", server.port!, { id: id("live") });
  await t.settled();
  for (let i = 0; i < 50; i++) {
    await (await request("flaky.test")).text();
    if (verdicts(await ask("http://flaky.test/"))[id("dead")] === "ejected") break;
  }
  const dead = (await ask("http://flaky.test/")).machines.find((machine) => machine.id === id("dead"))!;
  expect(dead.verdict).toBe("ejected");
  expect(dead.text).toMatch(/^passed over for \d+ ms more \(unreachable\)$/);
});

test("explain changes nothing, and wants a URL", async () => {
  const before = t.edge.routes.find("many.test")!.services.get(80)!;
  const loads = () => [...before.backends()].map(({ inFlight }) => inFlight);
  const was = loads();
  for (let i = 0; i < 20; i++) await ask("http://many.test/");
  expect(loads()).toEqual(was);
  for (
    const query of ["", "?url=plain.test", "?url=ftp://plain.test/", "?url=http://plain.test/&region=London"]
  ) {
    expect((await fetch(`http://127.0.0.1:${t.adminPort}/explain${query}`)).status, query).toBe(400);
  }
});

test("explain names the machine that the request would have started, and who would start it", () => {
  const { routes, limits } = t.edge;
  const sources = {
    ...{
      edgeId: "edge-1",
      region: "ams",
      hostId: HOST_ID,
      routes,
      limits,
      holdWaitersMax: 1,
      holdWaitMsMax: 1,
    },
    ...{ rows: () => null, listeners: () => [], nowMs: () => 0, random: () => 0 },
    starts: { state: () => null } as unknown as Starts,
  };
  const { stages, refusal } = explain(sources, {
    url: new URL("http://resting.test/"),
    region: null,
    fields: [],
  });
  expect(refusal).toBeNull();
  expect(stages.at(-1)).toEqual({
    stage: "pick",
    decision: "starts",
    text: `${id("rest")}, which is stopped, by the worker beside this edge`,
  });
});

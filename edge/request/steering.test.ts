/** Where requests go on a real edge: steering fields, checks, machines that cannot be reached. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closedPort, idOf, startRawUpstream, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";

const ONE = idOf("one", 14), TWO = idOf("two", 14), AWAY = idOf("away", 14);
let t: TestEdge;
const servers: Bun.Server<unknown>[] = [];

function named(name: string): number {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) =>
      Response.json({
        name,
        missed: request.headers.get("fly-preferred-instance-unavailable"),
        asked: request.headers.get("fly-force-region"),
      }),
  });
  servers.push(server);
  return server.port!;
}
beforeAll(async () => {
  t = await startTestEdge({ holdWaitMsMax: 800, regions: ["ams", "syd"] });
  const away = { id: AWAY, region: "syd", host_id: "host-syd" };
  await t.app("steer", named("one"), { id: ONE });
  await t.machine("steer", named("two"), { id: TWO });
  await t.machine("steer", named("away"), away);
  await until(() => t.edge.routes.find("steer.test")!.services.get(80)!.size === 3);
});
afterAll(async () => {
  await t.stop();
  for (const server of servers) await server.stop(true);
});

const get = (host: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${t.port}/`, { headers: { host, ...headers } });
const seen = async (headers: Record<string, string>) => await (await get("steer.test", headers)).json();

describe("steering fields", () => {
  test("fly-force-instance-id reaches that machine alone", async () => {
    for (let i = 0; i < 5; i++) {
      expect(await seen({ "fly-force-instance-id": TWO })).toMatchObject({ name: "two" });
    }
    expect(await seen({ "fly-force-instance-id": AWAY })).toMatchObject({ name: "away" });
    const gone = await get("steer.test", { "fly-force-instance-id": idOf("gone", 14) });
    expect(gone.status).toBe(503);
    expect(gone.headers.get("fly-error-code")).toBe("PR02");
    expect(await gone.text()).toContain("edge.instance_unavailable");
  });

  test("fly-prefer-instance-id falls back, and the machine learns of it", async () => {
    expect(await seen({ "fly-prefer-instance-id": ONE })).toMatchObject({ name: "one", missed: null });
    const gone = idOf("gone", 14);
    expect(await seen({ "fly-prefer-instance-id": gone })).toMatchObject({ missed: gone });
    const spoofed = await seen({ "fly-preferred-instance-unavailable": gone });
    expect(spoofed).toMatchObject({ missed: null });
    // Only an id goes on in the edge's own field.
    expect(await seen({ "fly-prefer-instance-id": "no id at all" })).toMatchObject({ missed: null });
  });

  test("fly-force-region and fly-prefer-region take lists and aliases, and reach the machine", async () => {
    expect(await seen({ "fly-force-region": "fra, apac" })).toEqual({
      name: "away",
      missed: null,
      asked: "fra, apac",
    });
    expect(await seen({ "fly-prefer-region": "syd" })).toMatchObject({ name: "away" });
    expect((await seen({ "fly-prefer-region": "gru" })).name).not.toBe("away");
    const none = await get("steer.test", { "fly-force-region": "gru,sa" });
    expect(none.status).toBe(503);
    expect(await none.text()).toContain("edge.region_unavailable");
  });
});

test("a machine whose checks fail takes no request, and the answer says so where all fail", async () => {
  await t.app("sick", servers[0]!.port!, { healthy: false });
  const response = await get("sick.test");
  expect(response.status).toBe(503);
  expect(await response.text()).toContain("edge.no_healthy_machine");
  await t.machine("sick", servers[0]!.port!, { healthy: true });
  await t.settled();
  expect((await get("sick.test")).status).toBe(200);
});

describe("ejection", () => {
  const service = (name: string) => t.edge.routes.find(name)!.services.get(80)!;

  test("a machine that refuses is passed over, tried once its time is over, and taken back", async () => {
    const port = await closedPort();
    await t.app("ejected", port, { id: ONE });
    await t.machine("ejected", servers[0]!.port!, { id: TWO });
    await t.settled();
    const bad = service("ejected.test").near.find(({ machineId }) => machineId === ONE)!;
    while (bad.breaker?.state !== "open") expect((await get("ejected.test")).status).toBe(200);
    expect(t.edge.balance.ejected.has(bad)).toBe(true);
    bad.breaker = { ...bad.breaker, untilMs: 0 };
    bad.ejectedUntilMs = 0;
    const back = Bun.serve({ port, hostname: "127.0.0.1", fetch: () => new Response("back") });
    const { probesAnswered } = t.edge.balance;
    while (bad.breaker !== null) expect((await get("ejected.test")).status).toBe(200);
    expect(t.edge.balance.probesAnswered).toBe(probesAnswered + 1);
    expect(t.edge.balance.ejected.has(bad)).toBe(false);
    const metrics = await (await fetch(`http://127.0.0.1:${t.adminPort}/metrics`)).text();
    expect(metrics).toContain('godwit_edge_ejections_count{reason="unreachable"}');
    await back.stop(true);
  });

  test("no more than half of a service is ejected, and an app's own errors eject nobody", async () => {
    const port = await closedPort();
    await t.app("half", port, { id: ONE });
    await t.machine("half", port, { id: TWO });
    await t.settled();
    for (let i = 0; i < 6; i++) expect((await get("half.test")).status).toBe(502);
    const open = service("half.test").near.filter(({ breaker }) => breaker?.state === "open");
    expect(open.length).toBeLessThanOrEqual(1);
    expect(t.edge.balance.ejectionsSpared).toBeGreaterThan(0);

    const failing = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response("no", { status: 500 }),
    });
    await t.app("failing", failing.port!, { id: ONE });
    await t.machine("failing", failing.port!, { id: TWO });
    await t.settled();
    for (let i = 0; i < 8; i++) expect((await get("failing.test")).status).toBe(500);
    for (const { breaker } of service("failing.test").near) expect(breaker).toBe(null);
    await failing.stop(true);
  });

  test("several resets in a row eject, one does not", async () => {
    const resetting = await startRawUpstream(({ socket }) => socket.resetAndDestroy());
    await t.app("resets", resetting.port, { id: ONE });
    await t.machine("resets", servers[0]!.port!, { id: TWO });
    await t.settled();
    const bad = service("resets.test").near.find(({ machineId }) => machineId === ONE)!;
    let resets = 0;
    while (bad.breaker?.state !== "open") if ((await get("resets.test")).status === 502) resets++;
    expect(resets).toBe(3);
    await resetting.stop();
  });
});

test("distances are measured on the way", () => {
  expect(t.edge.routes.distances.of("syd")).toBeLessThan(10_000);
});

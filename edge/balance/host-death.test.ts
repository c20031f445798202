/** A real edge, whose agent says that hosts die and come back: where requests go, before any row says so. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { type Edge, startEdge } from "../edge.ts";
import { idOf, until } from "../edge.fixture.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import { FakeAgent } from "./membership-agent.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-host-death-"));
const agent = new FakeAgent(join(folder, "membership.sock"));
const APP = idOf("app");
const HOSTS = ["host-1", "host-2", "host-3"];
const servers: Bun.Server<unknown>[] = [];
let edge: Edge;

beforeAll(async () => {
  for (const host of HOSTS) {
    servers.push(Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(host) }));
  }
  const config = EdgeConfig.parse({
    schema: 1,
    edge_id: "edge",
    region: "ams",
    regions: [],
    listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
    admin: { address: "127.0.0.1", port: 1 },
    rows: { from: "given", rows: [] },
    membership_socket: join(folder, "membership.sock"),
    access_log: "off",
  });
  const listeners = [{ ...config.listeners[0]!, port: 0 }];
  const admin = { address: "127.0.0.1", port: 0 };
  edge = await startEdge({ ...config, listeners, admin }, await loadRuntime(), pino({ level: "silent" }));
  edge.routes.apply([{ table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id: APP } }]);
  for (const host of HOSTS) row(host);
});
afterAll(async () => {
  await edge.stop(500);
  await agent.stop();
  await Promise.all(servers.map((server) => server.stop(true)));
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  await agent.stop();
  agent.members = { front: "alive", "host-1": "alive", "host-2": "alive", "host-3": "alive" };
  await agent.start();
  await until(() => edge.membership!.connected && edge.membership!.dead.size === 0);
  for (const host of HOSTS) row(host);
});

function row(host: string, state: "started" | "stopped" = "started"): void {
  const port = servers[HOSTS.indexOf(host)]!.port!;
  edge.routes.apply([machineChange(port, { id: idOf(host, 14), app_id: APP, host_id: host, state })]);
}
async function reached(requests = 60): Promise<string[]> {
  const hosts = new Set<string>();
  for (let i = 0; i < requests; i++) {
    const response = await fetch(`http://127.0.0.1:${edge.ports[0]}/`, { headers: { host: "a.test" } });
    hosts.add(await response.text());
  }
  return [...hosts].sort();
}
const dead = (...hosts: string[]) => until(() => [...edge.membership!.dead].sort().join() === hosts.join());

describe("an edge whose agent says that a host is dead", () => {
  test("sends that host's machines nothing, and again when it is alive", async () => {
    expect(await reached()).toEqual(HOSTS);
    agent.tell("host-2", "dead");
    await dead("host-2");
    expect(await reached()).toEqual(["host-1", "host-3"]);
    agent.tell("host-2", "suspect");
    agent.tell("front", "alive");
    expect(await reached()).toEqual(["host-1", "host-3"]);
    agent.tell("host-2", "alive");
    await dead();
    expect(await reached()).toEqual(HOSTS);
  });
  test("passes over what that host's rows bring too", async () => {
    agent.tell("host-2", "dead");
    await dead("host-2");
    row("host-2", "stopped");
    row("host-2");
    expect(await reached()).toEqual(["host-1", "host-3"]);
  });
  test("sends requests there even so when no other machine is left", async () => {
    row("host-1", "stopped");
    row("host-3", "stopped");
    agent.tell("host-2", "dead");
    await dead("host-2");
    expect(await reached(5)).toEqual(["host-2"]);
  });
  test("does not believe that most are dead", async () => {
    for (const host of HOSTS) agent.tell(host, "dead");
    await until(() => edge.membership!.distrusted);
    expect(await reached()).toEqual(HOSTS);
  });
  test("goes by rows alone when the agent is away", async () => {
    agent.tell("host-2", "dead");
    await dead("host-2");
    await agent.stop();
    await dead();
    expect(await reached()).toEqual(HOSTS);
  });
  test("says so to who asks", async () => {
    agent.tell("host-2", "dead");
    await dead("host-2");
    const page = async (path: string) => (await fetch(`http://127.0.0.1:${edge.ports[1]}${path}`)).text();
    const metrics = await page("/metrics");
    expect(metrics).toContain("godwit_edge_dead_hosts 1");
    expect(metrics).toContain("godwit_edge_membership_connected 1");
    expect(await page("/routes?host=a.test")).toContain('"host_dead":true');
    const url = encodeURIComponent("http://a.test/");
    expect(await page(`/explain?url=${url}`)).toContain("passed over: its host is dead");
  });
});

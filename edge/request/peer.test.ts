/** Two edges in front of one worker host's edge: the machine's limits are held where they are true. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { type Edge, type EdgeOptions, startEdge } from "../edge.ts";
import { closedPort, idOf, until } from "../edge.fixture.ts";
import { RECENTLY_STOPPED_MS } from "../../control/contract/worker-edge-api.ts";
import { RouteTable, type RowChange } from "../routes/route-table.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import { PeerFields } from "./peer-field.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-peers-"));
const secretFile = join(folder, "secret");
const SECRET = "a secret of more than 32 characters";
writeFileSync(secretFile, SECRET, { mode: 0o600 });
const APP = idOf("app");
const HOSTS = ["host-1", "host-2"] as const;
const machineId = (host: string) => idOf(host, 14);

interface Upstream {
  readonly server: Bun.Server<unknown>;
  most: number;
  served: number;
  last: Record<string, string>;
}
const edges: Edge[] = [];
const upstreams: Upstream[] = [];
let first: Edge, second: Edge;
let workers: Edge[];

function slowUpstream(): Upstream {
  let now = 0;
  const upstream: Upstream = {
    most: 0,
    served: 0,
    last: {},
    server: Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request) {
        upstream.most = Math.max(upstream.most, ++now);
        upstream.served++;
        upstream.last = Object.fromEntries(request.headers);
        const body = await request.text();
        await Bun.sleep(3);
        now--;
        return new Response(`${server(upstream)} ${body}`, { headers: { "godwit-send-back": "full" } });
      },
    }),
  };
  const server = (of: Upstream) => HOSTS[upstreams.indexOf(of)];
  upstreams.push(upstream);
  return upstream;
}

async function edge(hostId: string | null, options: EdgeOptions = {}): Promise<Edge> {
  const config = EdgeConfig.parse({
    schema: 1,
    edge_id: hostId === null ? `front-${edges.length}` : `${hostId}-edge`,
    ...(hostId === null ? {} : { host_id: hostId }),
    region: "ams",
    regions: [],
    listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
    admin: null,
    rows: { from: "given", rows: [] },
    access_log: "off",
    peers: {
      secret_file: secretFile,
      listen: hostId === null ? null : { address: "127.0.0.1", port: 1 },
    },
  });
  const [listener] = config.listeners;
  const listen = hostId === null ? null : { address: "127.0.0.1", port: 0 };
  const made = await startEdge(
    {
      ...config,
      listeners: [{ ...listener!, port: 0 }],
      peers: { secret_file: secretFile, listen },
    },
    await loadRuntime(),
    pino({ level: "silent" }),
    options,
  );
  edges.push(made);
  return made;
}

function machine(host: string, port: number, hard: number | null, fields: object = {}): RowChange {
  return machineChange(port, {
    ...{ id: machineId(host), app_id: APP, host_id: host },
    services: [{
      protocol: "tcp",
      internal_port: port,
      ports: [{ port: 80, handlers: ["http"], force_https: false }],
      concurrency: { type: "requests", soft_limit: 2, hard_limit: hard },
    }],
    ...fields,
  });
}
const host = (id: string, of: Edge): RowChange => ({
  table: "hosts",
  key: id,
  row: { id, region: "ams", state: "ready", cpus: 1, memory_mb: 256, edge: `127.0.0.1:${of.ports.at(-1)}` },
});
const tell = (changes: RowChange[], whom: Edge[] = edges) => {
  for (const each of whom) each.routes.apply(changes);
};
const get = (via: Edge, init: RequestInit = {}, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${via.ports[0]}/`, { ...init, headers: { host: "a.test", ...headers } });

beforeAll(async () => {
  for (const _ of HOSTS) slowUpstream();
  [first, second] = [await edge(null), await edge(null)];
  workers = [await edge(HOSTS[0]), await edge(HOSTS[1])];
  tell([
    { table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id: APP } },
    ...HOSTS.map((id, i) => host(id, workers[i]!)),
  ]);
});
afterAll(async () => {
  for (const each of edges) await each.stop(500);
  for (const { server } of upstreams) await server.stop(true);
  rmSync(folder, { recursive: true, force: true });
});
const bothMachines = (hard: number | null) =>
  HOSTS.map((id, i) => machine(id, upstreams[i]!.server.port!, hard));
const idle = () =>
  edges.every((each) =>
    [...each.routes.find("a.test")!.service(80).backends()].every((b) => b.inFlight === 0)
  );

describe("a request by way of the machine's own edge", () => {
  test("arrives as the first edge made it, and nothing internal leaks either way", async () => {
    tell(bothMachines(null));
    const response = await get(first, { method: "POST", body: "hello" }, {
      "godwit-peer": "forged",
      "x-forwarded-for": "9.9.9.9",
      "fly-force-instance-id": machineId(HOSTS[0]),
    });
    expect(await response.text()).toBe("host-1 hello");
    expect(response.headers.get("godwit-send-back")).toBe(null);
    expect(response.headers.get("via")).toBe("1.1 godwit");
    const { last } = upstreams[0]!;
    expect(last).toMatchObject({
      "fly-client-ip": "127.0.0.1",
      "x-forwarded-for": "9.9.9.9, 127.0.0.1",
      "fly-forwarded-port": "80",
      "fly-request-id": response.headers.get("fly-request-id")!,
    });
    expect(Object.keys(last).filter((name) => name.startsWith("godwit"))).toEqual([]);
    expect(workers[0]!.routes.machine(`host-1/${machineId(HOSTS[0])}`)!.backends!.viaPeer).toBe(false);
    expect(first.routes.machine(`host-1/${machineId(HOSTS[0])}`)!.backends!.viaPeer).toBe(true);
  });

  test("is refused where no edge of the fleet sent it", async () => {
    const port = workers[0]!.ports.at(-1);
    const other = new PeerFields("another secret of more than 32 characters");
    const line = other.write({
      machine: machineId(HOSTS[0]),
      port: 80,
      final: true,
      request_id: "x",
      fields: "",
    });
    for (const value of [null, line.slice(13).trim()]) {
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        headers: { host: "a.test", ...(value === null ? {} : { "godwit-peer": value }) },
      });
      expect(response.status).toBe(403);
      expect(await response.text()).toContain("edge.peer_refused");
    }
    expect(workers[0]!.balance.peersRefused).toBe(2);
  });
});

test("two edges never take a machine past its hard limit, and no request fails", async () => {
  const HARD = 3;
  tell(bothMachines(HARD));
  for (const upstream of upstreams) upstream.most = upstream.served = 0;
  const before = first.balance.sentBack + second.balance.sentBack;
  const post = { method: "POST", body: "b" };
  const statuses = await Promise.all(
    Array.from(
      { length: 120 },
      (_, i) => get(i % 2 === 0 ? first : second, i % 5 === 0 ? post : {}).then((r) => r.status),
    ),
  );
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
  for (const upstream of upstreams) {
    expect(upstream.most).toBe(HARD);
    expect(upstream.served).toBeGreaterThan(0);
  }
  expect(upstreams[0]!.served + upstreams[1]!.served).toBe(120);
  // Each of the two saw room where there was none.
  expect(first.balance.sentBack + second.balance.sentBack).toBeGreaterThan(before);
  await until(idle);
});

test("a machine that its own edge knows to be gone, stopped or dead is picked no more for that request", async () => {
  const [one, two] = [workers[0]!, upstreams[1]!.server.port!];
  const gone: RowChange = { table: "machines", key: `host-1/${machineId(HOSTS[0])}`, row: null };
  const stopped = machine("host-1", upstreams[0]!.server.port!, null, { state: "stopped" });
  const dead = machine("host-1", await closedPort(), null);
  for (const row of [gone, stopped, dead]) {
    tell(bothMachines(null));
    tell([row], [one]);
    expect(first.routes.find("a.test")!.service(80).near.length).toBe(2);
    for (let i = 0; i < 8; i++) expect(await (await get(first)).text()).toBe("host-2 ");
    tell([row]);
  }
  // The only one there is: the answer is the worker's edge's own, and no request goes round in circles.
  tell([{ table: "machines", key: `host-2/${machineId(HOSTS[1])}`, row: null }]);
  tell([machine("host-2", two, null)], [first]);
  const sends = workers[1]!.balance.sendBacks.get("none") ?? 0;
  tell([gone]);
  const response = await get(first);
  expect(response.status).toBe(503);
  expect(await response.text()).toContain("edge.instance_unavailable");
  expect(workers[1]!.balance.sendBacks.get("none") ?? 0).toBe(sends);
  await until(idle);
});

describe("a machine that was stopped a moment ago", () => {
  const stop = () =>
    tell([machine("host-1", upstreams[0]!.server.port!, null, { state: "stopped" })], [workers[0]!]);

  test("is passed over for another one, with a body too, and its edge's log says why", async () => {
    tell(bothMachines(null));
    stop();
    const before = workers[0]!.balance.sendBacks.get("recently_stopped") ?? 0;
    for (let i = 0; i < 8; i++) {
      expect(await (await get(first, { method: "POST", body: "hello" })).text()).toBe("host-2 hello");
    }
    expect(workers[0]!.balance.sendBacks.get("recently_stopped")).toBeGreaterThan(before);
    const answer = await fetch(`http://127.0.0.1:${workers[0]!.ports.at(-1)}/`, {
      headers: {
        host: "a.test",
        "godwit-peer": new PeerFields(SECRET).write({
          machine: machineId("host-1"),
          port: 80,
          final: false,
          request_id: "x",
          fields: "",
        }).slice(13).trim(),
      },
    });
    expect(answer.headers.get("godwit-send-back")).toBe("recently_stopped");
    expect(answer.headers.get("fly-error-code")).toBe("PM11");
  });

  test("and was stopped longer ago, is no longer called so", async () => {
    tell(bothMachines(null));
    stop();
    const entry = workers[0]!.routes.machine(`host-1/${machineId("host-1")}`)!;
    expect(workers[0]!.routes.justStopped(entry)).toBe(true);
    const routes = new RouteTable({ region: "ams", hostId: "host-1", nowMs: () => nowMs, wallMs: () => 0 });
    let nowMs = 0;
    routes.apply([machine("host-1", 1, null)]);
    const own = routes.machine(`host-1/${machineId("host-1")}`)!;
    expect(routes.justStopped(own)).toBe(false);
    routes.apply([machine("host-1", 1, null, { state: "stopping" })]);
    expect(routes.justStopped(own)).toBe(true);
    routes.apply([machine("host-1", 1, null, { state: "stopped" })]);
    nowMs = RECENTLY_STOPPED_MS - 1;
    expect(routes.justStopped(own)).toBe(true);
    nowMs = RECENTLY_STOPPED_MS;
    expect(routes.justStopped(own)).toBe(false);
  });
});

/**
 * Starting on demand, on real edges with a worker's door on a real unix socket. What the worker itself does with the
 * calls is in deploy/stack/autostart.test.ts.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { Service } from "../../control/contract/machine.ts";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { EdgeMachine } from "../../control/contract/worker-edge-api.ts";
import { type Edge, startEdge } from "../edge.ts";
import { idOf, RawClient, until } from "../edge.fixture.ts";
import { loadRuntime } from "../runtime/runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-starts-"));
const socket = join(folder, "edge.sock"), secretFile = join(folder, "secret");
writeFileSync(secretFile, "s".repeat(40), { mode: 0o600 });
const APP = idOf("app"), HOST = "host-1";
const [ONE, TWO] = [idOf("one", 14), idOf("two", 14)];

let app: Bun.Server<unknown>, door: Bun.Server<unknown>;
let openDoor: () => Bun.Server<unknown>;
let worker: Edge, front: Edge;
const calls: string[] = [];
let onStart: (id: string) => Response;
let onStop: (id: string) => Response;
/** Null: as a start. */
let onSpare: ((id: string) => Response) | null = null;
let held: (() => void)[] = [];

beforeAll(async () => {
  app = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      if (new URL(request.url).pathname === "/held") await new Promise<void>((done) => held.push(done));
      return new Response("here");
    },
  });
  openDoor = () =>
    Bun.serve({
      unix: socket,
      fetch(request) {
        const { pathname, search } = new URL(request.url);
        const [, id, what] = pathname.match(/^\/v1\/machines\/([0-9a-f]{14})\/(start|stop)$/)!;
        const spare = search === "?spare=true";
        calls.push(`${spare ? "spare" : what} ${id}`);
        if (spare && onSpare !== null) return onSpare(id!);
        return what === "start" ? onStart(id!) : onStop(id!);
      },
    });
  door = openDoor();
  const config = (fields: object) => {
    const parsed = EdgeConfig.parse({
      schema: 1,
      edge_id: "edge",
      region: "ams",
      regions: [],
      listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
      admin: null,
      rows: { from: "given", rows: [] },
      access_log: "off",
      ...fields,
    });
    return {
      ...parsed,
      listeners: [
        { ...parsed.listeners[0]!, port: 0 },
        { ...parsed.listeners[0]!, port: 0, app: "a.test" },
      ],
      peers: {
        secret_file: secretFile,
        listen: "host_id" in fields ? { address: "127.0.0.1", port: 0 } : null,
      },
    };
  };
  const start = async (fields: object) =>
    await startEdge(config(fields), await loadRuntime(), pino({ level: "silent" }), { holdWaitMsMax: 5_000 });
  worker = await start({ host_id: HOST, worker_socket: socket });
  front = await start({});
  for (const edge of [worker, front]) {
    edge.routes.apply([
      { table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id: APP } },
      {
        table: "hosts",
        key: HOST,
        row: {
          id: HOST,
          region: "ams",
          state: "ready",
          cpus: 1,
          memory_mb: 1,
          edge: `127.0.0.1:${worker.ports.at(-1)}`,
        },
      },
    ]);
  }
});
afterAll(async () => {
  for (const edge of [front, worker]) await edge.stop(500);
  await Promise.all([app.stop(true), door.stop(true)]);
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  calls.length = 0;
  for (const id of [ONE, TWO]) tell(id, null);
  onSpare = null;
  onStop = (id) => Response.json(EdgeMachine.parse({ id, state: "stopping" }));
  onStart = (id) => {
    tell(id, "starting");
    queueMicrotask(() => tell(id, "started"));
    return Response.json(EdgeMachine.parse({ id, state: "starting" }));
  };
});

function tell(
  id: string,
  state: "starting" | "started" | "stopped" | "stopping" | "suspended" | null,
  asks: Partial<Service> = {},
  startedAtMs = Date.now(),
): void {
  const key = `${HOST}/${id}`;
  const change = state === null ? { table: "machines" as const, key, row: null } : machineChange(app.port!, {
    ...{ id, app_id: APP, host_id: HOST, state, started_at_ms: startedAtMs },
    services: [{
      protocol: "tcp",
      internal_port: app.port!,
      ports: [{ port: 80, handlers: ["http"], force_https: false }],
      concurrency: { type: "requests", soft_limit: 1, hard_limit: null },
      ...asks,
    }],
  });
  for (const edge of [worker, front]) {
    edge.routes.apply([change]);
  }
}
const get = (via: Edge, path = "/") =>
  fetch(`http://127.0.0.1:${via.ports[0]}${path}`, { headers: { host: "a.test" } });
const refuse = (code: string) => () =>
  Response.json({ error: { code, fault: "us", retryable: false, message: "no", hint: null } }, {
    status: 409,
  });

describe("a request for a stopped machine", () => {
  test("starts it once for all who wait, and is answered", async () => {
    tell(ONE, "stopped");
    const texts = await Promise.all(Array.from({ length: 200 }, () => get(worker).then((r) => r.text())));
    expect(new Set(texts)).toEqual(new Set(["here"]));
    expect(calls).toEqual([`start ${ONE}`]);
  });

  test("starts a suspended one before a stopped one", async () => {
    tell(ONE, "stopped");
    tell(TWO, "suspended");
    expect(await (await get(worker)).text()).toBe("here");
    expect(calls).toEqual([`start ${TWO}`]);
  });

  test("waits for one that is just stopping, then starts it", async () => {
    tell(ONE, "stopping");
    const answer = get(worker);
    await until(() => worker.balance.waiting === 1);
    expect(calls).toEqual([]);
    tell(ONE, "stopped");
    expect(await (await answer).text()).toBe("here");
  });

  test("starts none that is not to be started on demand", async () => {
    tell(ONE, "stopped", { auto_start_machines: false });
    const response = await get(worker);
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("edge.no_machine");
    expect(calls).toEqual([]);
  });

  test("goes to the edge of the machine's host, which starts it", async () => {
    tell(ONE, "stopped");
    const texts = await Promise.all(Array.from({ length: 20 }, () => get(front).then((r) => r.text())));
    expect(new Set(texts)).toEqual(new Set(["here"]));
    expect(calls).toEqual([`start ${ONE}`]);
  });
});

describe("bytes without requests, for a machine of another host", () => {
  const say = async () => {
    const client = await RawClient.open(front.ports[1]!);
    client.send("GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n");
    const text = await client.end();
    client.close();
    return text;
  };

  test("wait until that host's edge has had it started, once for all", async () => {
    tell(ONE, "stopped");
    const texts = await Promise.all(Array.from({ length: 20 }, say));
    for (const text of texts) expect(text).toEndWith("here");
    expect(calls).toEqual([`start ${ONE}`]);
    expect(front.peerStarts!.asked).toBe(1);
  });

  test("end with nothing said where it cannot be started, and the next ones at once", async () => {
    const id = idOf("full", 14);
    tell(id, "stopped");
    onStart = refuse("place.no_capacity");
    // The peer's edge has been told before this one asks.
    expect((await get(worker)).status).toBe(503);
    expect(await say()).toBe("");
    expect(await say()).toBe("");
    expect(calls).toEqual([`start ${id}`]);
    expect(front.peerStarts!.state(id)).toMatchObject({ kind: "failed", code: "edge.start_no_capacity" });
    tell(id, null);
  });
});

test("a machine above its soft limit has another one started beside it, without waiting", async () => {
  const [three, four] = [idOf("three", 14), idOf("four", 14)];
  tell(three, "started");
  tell(four, "stopped");
  const first = get(worker, "/held");
  await until(() => held.length === 1);
  expect(calls).toEqual([]);
  const second = get(worker, "/held");
  await until(() => held.length === 2 && calls.length > 0);
  expect(calls).toEqual([`spare ${four}`]);
  for (const release of held) release();
  held = [];
  expect((await first).status).toBe(200);
  expect((await second).status).toBe(200);
  for (const id of [three, four]) tell(id, null);
});

test("a machine that was just stopped is started again only where no other can serve", async () => {
  const [busy, rested] = [idOf("busy", 14), idOf("rested", 14)];
  tell(busy, "started");
  tell(rested, "stopped");
  const before = worker.starts!.spared;
  onSpare = refuse("machine.recently_stopped");
  const first = get(worker, "/held");
  await until(() => held.length === 1);
  const second = get(worker, "/held");
  await until(() => held.length === 2 && worker.starts!.spared === before + 1);
  const third = get(worker, "/held");
  await until(() => held.length === 3);
  // Not asked a second time, and nobody waited for it.
  expect(calls).toEqual([`spare ${rested}`]);
  for (const release of held) release();
  held = [];
  for (const each of [first, second, third]) expect((await each).status).toBe(200);
  // Now it is the only one.
  tell(busy, null);
  expect((await get(worker)).status).toBe(200);
  expect(calls).toEqual([`spare ${rested}`, `start ${rested}`]);
  tell(rested, null);
});

test("a pass stops an idle machine, and a request that comes meanwhile brings it back", async () => {
  const id = idOf("idle", 14);
  const idle = { auto_stop_machines: "stop" as const };
  tell(id, "started", idle, 1);
  expect((await get(worker)).status).toBe(200);
  await worker.autostop!.run();
  expect(calls).toEqual([]); // it was used since the last pass
  await worker.autostop!.run();
  expect(calls).toEqual([`stop ${id}`]);
  const answer = get(worker);
  await until(() => worker.balance.waiting === 1);
  tell(id, "stopping", idle);
  tell(id, "stopped", idle);
  expect(await (await answer).text()).toBe("here");
  expect(calls).toEqual([`stop ${id}`, `start ${id}`]);

  // Just started: left alone, used or not.
  for (let i = 0; i < 2; i++) await worker.autostop!.run();
  expect(calls.length).toBe(2);
  // A machine with a connection, or one that is not to be stopped, stays.
  tell(id, "started", idle, 1);
  const open = get(worker, "/held");
  await until(() => held.length === 1);
  for (let i = 0; i < 2; i++) await worker.autostop!.run();
  for (const release of held) release();
  held = [];
  await open;
  tell(id, "started", {}, 1);
  for (let i = 0; i < 2; i++) await worker.autostop!.run();
  expect(calls.length).toBe(2);
  // A stop that the worker refuses leaves it where it was.
  onStop = refuse("machine.busy");
  tell(id, "started", idle, 1);
  await worker.autostop!.run();
  expect(calls.length).toBe(3);
  expect((await get(worker)).status).toBe(200);
  tell(id, null);
});

describe("a start that fails", () => {
  test("is told in words, is not repeated at once, and another machine is tried", async () => {
    tell(ONE, "stopped");
    onStart = refuse("place.no_capacity");
    for (let i = 0; i < 3; i++) {
      const response = await get(worker);
      expect(response.status).toBe(503);
      expect(response.headers.get("fly-error-code")).toBe("PM02");
      expect(await response.text()).toContain("edge.start_no_capacity");
    }
    expect(calls).toEqual([`start ${ONE}`]);
    tell(TWO, "stopped");
    expect((await get(worker)).status).toBe(503);
    expect(calls).toEqual([`start ${ONE}`, `start ${TWO}`]);
  });

  test("by its row ends the wait", async () => {
    const id = idOf("boot", 14);
    tell(id, "stopped");
    onStart = (asked) => {
      tell(asked, "starting");
      queueMicrotask(() => tell(asked, "stopped"));
      return Response.json(EdgeMachine.parse({ id: asked, state: "starting" }));
    };
    const response = await get(worker);
    expect(await response.text()).toContain("edge.start_failed");
    expect(calls).toEqual([`start ${id}`]);
    tell(id, null);
  });

  test("because no worker answers says so", async () => {
    const id = idOf("away", 14);
    tell(id, "stopped");
    await door.stop(true);
    const response = await get(worker);
    expect(response.headers.get("fly-error-code")).toBe("PU03");
    expect(await response.text()).toContain("edge.worker_unreachable");
    door = openDoor();
    tell(id, null);
  });
});

/** A real edge and a real worker with the runc driver: a request starts the stopped machine that it is for. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import { WireError } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { MachineSpec } from "../../control/contract/machine.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { EdgeMachine } from "../../control/contract/worker-edge-api.ts";
import { TestWorker } from "../../control/worker/testbed.fixture.ts";
import { type Edge, startEdge } from "../../edge/edge.ts";
import { loadRuntime } from "../../edge/runtime/runtime.ts";
import { testRedis } from "../servers/testbed.ts";

const TIME_MS = 60_000;
let worker: TestWorker, edge: Edge, redis: Redis;

beforeAll(async () => {
  worker = await TestWorker.create();
  await worker.start();
  await worker.pull({ Cmd: ["/bin/httpd", "-f", "-p", "8080", "-h", "/tmp"] });
  redis = new Redis(await testRedis("admin"));
  const config = EdgeConfig.parse({
    schema: 1,
    edge_id: `${worker.config.host_id}-edge`,
    host_id: worker.config.host_id,
    worker_socket: worker.config.edge_socket,
    region: worker.config.region,
    regions: [worker.config.region],
    listeners: [{ address: "127.0.0.1", port: 1, service_port: 80 }],
    admin: null,
    rows: {
      from: "redis",
      redis_url: await testRedis("edge"),
      replica_file: join(worker.folder, "replica.sqlite"),
    },
    access_log: "off",
  });
  const listeners = [{ ...config.listeners[0]!, port: 0 }];
  edge = await startEdge({ ...config, listeners }, await loadRuntime(), pino({ level: "silent" }));
}, TIME_MS);
afterAll(async () => {
  await edge?.stop(500);
  redis?.disconnect();
  await worker?.remove();
});

async function lead(hostname: string, appId: string): Promise<void> {
  const event = {
    schema: 1,
    owner: "api",
    table: "hostnames",
    key: hostname,
    version: { epoch: 1, seq: Date.now() },
    deleted: false,
    row: { hostname, app_id: appId },
    published_ms: Date.now(),
  };
  await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(JSON.stringify(event)));
}
async function door(path: string): Promise<Response> {
  return await fetch(`http://worker${path}`, { method: "POST", unix: worker.config.edge_socket! });
}

async function codeOf(answer: Response): Promise<string> {
  return WireError.parse((await answer.json() as { error: unknown }).error).code;
}

test("a request starts its stopped machine, and is answered by it", async () => {
  const spec = worker.spec({ services: [{ ...worker.spec().services[0]!, auto_start_machines: true }] });
  await worker.call("PUT", `/v1/machines/${spec.id}`, spec);
  await worker.call("POST", `/v1/machines/${spec.id}/start`);
  await worker.wait(spec.id, "started");
  await worker.call("POST", `/v1/machines/${spec.id}/stop`, {});
  await worker.wait(spec.id, "stopped");
  const hostname = `${worker.config.host_id}.test`;
  await lead(hostname, spec.app_id);
  while (edge.routes.find(hostname)?.services.get(80)?.startable !== 1) await Bun.sleep(5);
  const get = () => fetch(`http://127.0.0.1:${edge.ports[0]}/nothing`, { headers: { host: hostname } });
  // Others could serve, says this edge: then what was stopped on request a moment ago stays stopped.
  const spared = await door(`/v1/machines/${spec.id}/start?spare=true`);
  expect(await codeOf(spared)).toBe("machine.recently_stopped");
  const answers = await Promise.all([get(), get(), get()]);
  // busybox's own answer, and not the edge's.
  for (const answer of answers) {
    expect(answer.status).toBe(404);
    expect(answer.headers.get("fly-error-code")).toBe(null);
  }
  expect(edge.starts!.asked).toBe(1);
}, TIME_MS);

test("the worker's door lets an edge do what a machine's services allow, and nothing else", async () => {
  const [service] = worker.spec().services;
  const spec = MachineSpec.parse({
    ...worker.spec(),
    services: [{ ...service!, auto_start_machines: false }],
  });
  await worker.call("PUT", `/v1/machines/${spec.id}`, spec);
  expect(await codeOf(await door(`/v1/machines/${spec.id}/start`))).toBe("machine.autostart_off");
  expect(await codeOf(await door(`/v1/machines/${spec.id}/stop`))).toBe("machine.autostop_off");
  expect(await codeOf(await door("/v1/machines/0123456789abcd/start"))).toBe("machine.not_found");
  expect(await codeOf(await door("/v1/machines/x/start"))).toBe("request.invalid");
  expect(await codeOf(await door(`/v1/machines/${spec.id}/cordon`))).toBe("worker.no_such_path");
  const idle = MachineSpec.parse({
    ...worker.spec(),
    services: [{ ...service!, auto_stop_machines: "stop" }],
  });
  await worker.call("PUT", `/v1/machines/${idle.id}`, idle);
  const answer = await door(`/v1/machines/${idle.id}/stop`);
  expect(EdgeMachine.parse(await answer.json())).toEqual({ id: idle.id, state: "created" });
});

/** What a real agent tells of the lives of its machines, by runc. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { LIFE_EVENTS_MAX, type LifeEvent, type MachineSpec, MachineView } from "../contract/machine.ts";
import { TestWorker } from "./testbed.fixture.ts";
import { killAndWait } from "./vmm/host-process.ts";

const SEEN_WAIT_MS = 30_000;

let worker: TestWorker;
beforeAll(async () => {
  worker = await TestWorker.create();
  await worker.start();
  await worker.pull();
}, 120_000);
afterAll(() => worker.remove(), 60_000);

const pathOf = ({ id }: MachineSpec) => `/v1/machines/${id}`;
const viewOf = async (spec: MachineSpec) => MachineView.parse(await worker.call("GET", pathOf(spec)));

async function asked(change: Partial<MachineSpec>): Promise<MachineSpec> {
  const spec = worker.spec(change);
  await worker.call("PUT", pathOf(spec), spec);
  await worker.call("POST", `${pathOf(spec)}/start`);
  return spec;
}

/** Oldest first, once there are so many; in words that leave times out. */
async function life(spec: MachineSpec, count: number): Promise<string[]> {
  for (const deadline = Date.now() + SEEN_WAIT_MS;;) {
    const { events } = await viewOf(spec);
    const told = [...events!].reverse().map(inWords);
    if (told.length >= count) return told;
    if (Date.now() > deadline) throw new Error(`never ${count} events: ${told.join("; ")}`);
    await Bun.sleep(10);
  }
}

function inWords({ type, status, source, exit }: LifeEvent): string {
  const how = exit === null
    ? ""
    : `, ${exit.signal ?? exit.exit_code}${exit.requested ? ", requested" : ""}${
      exit.restarting === true ? ", restarting" : ""
    }`;
  return `${type} ${status} by ${source}${how}`;
}

test("a machine's events tell its whole life, survive a kill of the agent, and are in no list", async () => {
  const spec = await asked({});
  await worker.wait(spec.id, "started");
  await worker.kill("SIGKILL");
  await worker.start();
  await worker.call("POST", `${pathOf(spec)}/stop`, {});
  const { events: none } = await worker.wait(spec.id, "stopped");
  const { machines } = await worker.call<{ machines: MachineView[] }>("GET", "/v1/machines");
  expect([none, machines.find(({ id }) => id === spec.id)!.events]).toEqual([undefined, undefined]);
  await worker.call("POST", `${pathOf(spec)}/start`);
  await worker.wait(spec.id, "started");
  await worker.call("DELETE", pathOf(spec));
  await worker.wait(spec.id, "destroyed");
  expect(await life(spec, 9)).toEqual([
    "launch created by api",
    "start starting by api",
    "start started by worker",
    "stop stopping by api",
    "exit stopped by worker, SIGTERM, requested",
    "start starting by api",
    "start started by worker",
    "destroy destroying by api",
    "destroy destroyed by worker",
  ]);
  const times = (await viewOf(spec)).events!.map(({ at_ms }) => at_ms);
  expect(times).toEqual(times.toSorted((a, b) => b - a));
});

test("each exit and each restart by the policy is told, the last exit without a restart", async () => {
  const spec = await asked({
    command: ["/bin/sh", "-c", "sleep 0.3; exit 3"],
    restart: { policy: "on-failure", max_retries: 1 },
  });
  await worker.wait(spec.id, "stopped");
  expect(await life(spec, 6)).toEqual([
    "launch created by api",
    "start starting by api",
    "start started by worker",
    "exit started by worker, 3, restarting",
    "restart started by worker",
    "exit stopped by worker, 3",
  ]);
  await worker.call("DELETE", pathOf(spec));
});

test("a VM that dies is told as an exit once, and its restart as one", async () => {
  const spec = await asked({ restart: { policy: "always", max_retries: 10 } });
  await worker.wait(spec.id, "started");
  await killAndWait(worker.processOf(spec.id)!);
  expect((await life(spec, 6)).slice(3)).toEqual([
    "exit started by worker, null, restarting",
    "restart starting by worker",
    "start started by worker",
  ]);
  await worker.call("DELETE", pathOf(spec));
});

test("a start that fails is told with its reason, and no more than LIFE_EVENTS_MAX are kept", async () => {
  const spec = await asked({ command: ["/none"] });
  await worker.wait(spec.id, "failed");
  const { events } = await viewOf(spec);
  expect(events![0]).toMatchObject({ type: "start", status: "failed", source: "worker" });
  expect(events![0]!.reason).toContain("/none");
  expect(events![0]!.exit!.reason).toContain("/none");
  await worker.kill("SIGTERM");
  worker.withDatabase((db) => {
    for (let at = 0; at < LIFE_EVENTS_MAX; at++) {
      db.run(
        `INSERT INTO life_events (machine_id, at_ms, type, status, source)
         SELECT machine_id, at_ms, type, status, source FROM life_events WHERE machine_id = ? LIMIT 1`,
        [spec.id],
      );
    }
  });
  await worker.start();
  await worker.call("DELETE", pathOf(spec));
  await worker.wait(spec.id, "destroyed");
  expect(await life(spec, LIFE_EVENTS_MAX)).toHaveLength(LIFE_EVENTS_MAX);
});

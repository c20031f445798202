/** Suspend and resume through a real agent, on QEMU: five boots to the end. Kills are in kill-at-every-step.test.ts. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { EdgeMachine } from "../contract/worker-edge-api.ts";
import type { MachineSpec, MachineView } from "../contract/machine.ts";
import type { HostView } from "../contract/worker-api.ts";
import { remainsOf } from "./host.ts";
import { TestWorker } from "./testbed.fixture.ts";
import { tryConnect } from "./vmm/control-stream.ts";
import { qemuPaths } from "./vmm/qemu/qemu-paths.ts";

const TEST_MS_MAX = 180_000;
const LOG_MS_MAX = 20_000;
const SLEEP_MS = 6_000;
/** Well below SLEEP_MS. */
const CLOCK_OFF_MS_MAX = 3_000;
/** RESUMED_PATIENCE at its longest, a restart's first wait and a boot. */
const SILENT_MS_MAX = 120_000;
const SOCKET_MS_MAX = 10_000;

let worker: TestWorker;
let spec: MachineSpec;
let path: string;
beforeAll(async () => {
  worker = await TestWorker.create({ vmm: "qemu" });
  await worker.start();
  await worker.pull({
    Cmd: [
      "/bin/sh",
      "-c",
      "trap 'echo awake' USR1; n=0; while :; do n=$((n+1)); echo count $n; sleep 0.2; done",
    ],
  });
  const service = worker.spec().services[0]!;
  spec = worker.spec({
    services: [{ ...service, auto_stop_machines: "suspend" }],
    resume_hook: { signal: "SIGUSR1" },
    restart: { policy: "on-failure", max_retries: 3 },
  });
  path = `/v1/machines/${spec.id}`;
  await worker.call("PUT", path, spec);
}, 120_000);
afterAll(() => worker.remove(), 60_000);

const ask = (what: string) => worker.call<MachineView>("POST", `${path}/${what}`);
const lines = async () =>
  (await worker.call<{ lines: { line: string }[] }>("GET", `${path}/logs`)).lines.map(({ line }) => line);
const newest = (said: string[]) =>
  Number(said.flatMap((line) => /^count (\d+)$/.exec(line)?.[1] ?? []).at(-1) ?? 0);
const published = async (state: string) => {
  const event = await worker.publishedEventually(
    `${worker.config.host_id}/${spec.id}`,
    (e) => e?.row?.state === state,
  );
  expect(event?.row?.state).toBe(state);
};
const saved = () => qemuPaths(remainsOf(worker.config, spec.id)).saved;

async function until(accept: (said: string[]) => boolean, msMax = LOG_MS_MAX): Promise<void> {
  for (const begun = performance.now();;) {
    const said = await lines();
    if (accept(said)) return;
    if (performance.now() - begun > msMax) {
      throw new Error(`the log never said it: ${said.slice(-10).join(" / ")}`);
    }
    await Bun.sleep(20);
  }
}
/** Connects to a socket as soon as it is there. */
async function firstAt(socketFile: string): Promise<Socket> {
  for (const begun = performance.now(); performance.now() - begun < SOCKET_MS_MAX;) {
    const socket = await tryConnect(socketFile);
    if (socket !== null) return socket;
    await Bun.sleep(1);
  }
  throw new Error(`nobody listens at ${socketFile}`);
}
async function started(): Promise<void> {
  await ask("start");
  expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started", reason: null });
}
async function suspended(): Promise<void> {
  await ask("suspend");
  expect(await worker.wait(spec.id, "suspended", "started")).toMatchObject({
    state: "suspended",
    reason: null,
    started_at_ms: null,
  });
}
const metric = async (line: string) => {
  const text = await (await fetch("http://worker/metrics", { unix: worker.config.listen_socket })).text();
  return Number(text.split("\n").find((each) => each.startsWith(line))?.split(" ").at(-1) ?? 0);
};

test(
  "a machine that is suspended leaves its host's memory, is published so, and counts on when it is started",
  async () => {
    const freeMb = async () => (await worker.call<HostView>("GET", "/v1/host")).memory_free_mb;
    await started();
    await until((said) => newest(said) > 3);
    const free = await freeMb();
    await suspended();
    const before = newest(await lines());
    expect(await freeMb()).toBe(free + spec.guest.memory_mb);
    expect(await worker.links()).toEqual([]);
    expect(worker.processOf(spec.id)).toBeNull();
    expect(existsSync(saved())).toBe(true);
    await published("suspended");

    await started();
    expect(existsSync(saved())).toBe(false);
    await published("started");
    await until((said) => newest(said) > before);
    expect((await lines()).filter((line) => line === "count 1")).toHaveLength(1);
    expect((await lines()).filter((line) => /^(?:started|suspended|resumed)$/.test(line))).toEqual([
      "started",
      "suspended",
      "resumed",
    ]);
    expect(await metric('godwit_worker_resumes_total{outcome="resumed"}')).toBe(1);
    const { events } = await worker.call<MachineView>("GET", path);
    expect(events!.slice(0, 5).map(({ type, status }) => `${type} ${status}`)).toEqual([
      "resume started",
      "resume starting",
      "suspend suspended",
      "suspend suspending",
      "start started",
    ]);
  },
  TEST_MS_MAX,
);

test(
  "a machine that slept is told the time and hears that it was resumed",
  async () => {
    const offMs = async () => {
      const sentMs = Date.now();
      const { stdout } = await worker.call<{ stdout: string }>("POST", `${path}/exec`, {
        argv: ["/bin/busybox", "date", "+%s"],
      });
      // The guest's clock was read between the two, to the second.
      const guestMs = Number(stdout) * 1_000;
      return Math.max(sentMs - 1_000 - guestMs, guestMs - Date.now(), 0);
    };
    expect(await offMs()).toBeLessThan(CLOCK_OFF_MS_MAX);
    await suspended();
    // What a clock that stood still would be behind by.
    await Bun.sleep(SLEEP_MS);
    await started();
    await until((said) => said.lastIndexOf("awake") > said.lastIndexOf("resumed"));
    expect(await offMs()).toBeLessThan(CLOCK_OFF_MS_MAX);
  },
  TEST_MS_MAX,
);

test("a start overtakes a suspend: the machine runs on, or is resumed", async () => {
  const before = newest(await lines());
  expect((await ask("suspend")).state).toBe("suspending");
  expect((await ask("start")).state).toBe("starting");
  expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started" });
  await until((said) => newest(said) > before);
  expect((await lines()).filter((line) => line === "count 1")).toHaveLength(1);
}, TEST_MS_MAX);

test("an edge's stop suspends where the services say so, and a stop gives the memory up", async () => {
  const answer = await fetch(`http://worker${path}/stop`, {
    method: "POST",
    unix: worker.config.edge_socket!,
  });
  expect(EdgeMachine.parse(await answer.json())).toEqual({ id: spec.id, state: "suspending" });
  await worker.wait(spec.id, "suspended", "started");
  const spare = await fetch(`http://worker${path}/start?spare=true`, {
    method: "POST",
    unix: worker.config.edge_socket!,
  });
  expect(spare.status).toBe(409);
  await ask("stop");
  expect(await worker.wait(spec.id, "stopped")).toMatchObject({
    state: "stopped",
    last_exit: { exit_code: null, requested: true, reason: "it was suspended, and its memory is given up" },
  });
  expect(existsSync(saved())).toBe(false);
}, TEST_MS_MAX);

test("a suspended machine whose host restarted is stopped, and boots anew", async () => {
  await started();
  await suspended();
  await worker.kill("SIGTERM");
  rmSync(worker.config.run_folder, { recursive: true });
  await worker.start();
  const view = await worker.wait(spec.id, "stopped");
  expect(view).toMatchObject({ state: "stopped", last_exit: { requested: false } });
  expect(view.reason).toContain("its saved memory was lost when the host restarted");
  expect(existsSync(saved())).toBe(false);
  await started();
}, TEST_MS_MAX);

test("memory that was damaged costs a boot, which the log and a metric tell", async () => {
  await suspended();
  const bytes = readFileSync(saved());
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(saved(), bytes);
  await started();
  expect((await lines()).filter((line) => line.startsWith("its memory could not be taken up again")))
    .toHaveLength(1);
  expect(await metric('godwit_worker_resumes_total{outcome="booted"}')).toBe(1);
}, TEST_MS_MAX);

test(
  "a guest that is silent after its resume is killed, and its restart policy boots it anew",
  async () => {
    await suspended();
    const { control } = qemuPaths(remainsOf(worker.config, spec.id));
    await ask("start");
    // QEMU serves one client of the guest's port: the worker's words wait behind this one, and no answer comes.
    const squatter = await firstAt(control);
    expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started", restarts: 0 });
    await until((said) => said.lastIndexOf("count 1") > said.lastIndexOf("resumed"), SILENT_MS_MAX);
    squatter.destroy();
    expect(await worker.wait(spec.id, "started")).toMatchObject({
      state: "started",
      restarts: 1,
      last_exit: {
        exit_code: null,
        requested: false,
        reason: "the guest said nothing after it was resumed, so its VM was killed",
      },
    });
  },
  TEST_MS_MAX,
);

test("destroy overtakes a suspend, and nothing is left", async () => {
  await ask("suspend");
  await worker.call("DELETE", path);
  expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
  expect(await worker.remains(spec.id)).toEqual([]);
  expect(await worker.links()).toEqual([]);
}, TEST_MS_MAX);

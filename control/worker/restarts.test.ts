/** The restart policy on a real agent, machines on runc. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { MachineSpec, MachineView } from "../contract/machine.ts";
import { TestWorker } from "./testbed.fixture.ts";

const SEEN_WAIT_MS = 30_000;

let worker: TestWorker;
beforeAll(async () => {
  worker = await TestWorker.create();
  await worker.start();
  await worker.pull();
}, 120_000);
afterAll(() => worker.remove(), 60_000);

const pathOf = ({ id }: { id: string }) => `/v1/machines/${id}`;
const shell = (script: string): [string, ...string[]] => ["/bin/sh", "-c", script];
const STEADY = "here to stay";
/** Ends with status 3 in its first `runs` runs, which it counts on its own disk. */
const failing = (runs: number) =>
  shell(
    `echo run >>/runs; [ $(cat /runs | wc -l) -gt ${runs} ] && echo ${STEADY} && exec sleep 1000; exit 3`,
  );

async function started(change: Partial<MachineSpec>): Promise<MachineSpec> {
  const spec = worker.spec({ restart: { policy: "on-failure", max_retries: 10 }, ...change });
  await worker.call("PUT", pathOf(spec), spec);
  await worker.call("POST", `${pathOf(spec)}/start`);
  expect((await worker.wait(spec.id, "started")).state).toBe("started");
  return spec;
}

async function seen(spec: MachineSpec, accept: (view: MachineView) => boolean): Promise<MachineView> {
  const deadline = Date.now() + SEEN_WAIT_MS;
  for (;;) {
    const view = await worker.call<MachineView>("GET", pathOf(spec));
    if (accept(view)) return view;
    if (Date.now() > deadline) throw new Error(`never as wanted: ${JSON.stringify(view)}`);
    await Bun.sleep(10);
  }
}

async function linesOf(spec: MachineSpec, wanted: "system" | "stdout"): Promise<string[]> {
  type Answer = { lines: { stream: string; line: string }[] };
  const { lines } = await worker.call<Answer>("GET", `${pathOf(spec)}/logs`);
  return lines.filter(({ stream }) => stream === wanted).map(({ line }) => line);
}
const systemLines = (spec: MachineSpec) => linesOf(spec, "system");

/** The run that does not end by itself has begun. */
async function steady(spec: MachineSpec): Promise<void> {
  const deadline = Date.now() + SEEN_WAIT_MS;
  while (!(await linesOf(spec, "stdout")).includes(STEADY)) {
    if (Date.now() > deadline) throw new Error(`never steady: ${await systemLines(spec)}`);
    await Bun.sleep(10);
  }
}

async function destroyed(spec: MachineSpec): Promise<void> {
  await worker.call("DELETE", pathOf(spec));
  expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
  expect(await worker.remains(spec.id)).toEqual([]);
}

test(
  "a process that fails runs again in the same guest, the machine stays started, and its end is kept",
  async () => {
    const spec = await started({ command: failing(2) });
    const before = worker.processOf(spec.id);
    const begun = (await worker.call<MachineView>("GET", pathOf(spec))).started_at_ms!;
    await steady(spec);
    const view = await seen(
      spec,
      (view) => view.restarts === 2 && view.started_at_ms! > view.last_exit!.at_ms,
    );
    expect(view).toMatchObject({
      state: "started",
      last_exit: { exit_code: 3, signal: null, requested: false, restarting: true },
    });
    expect(view.started_at_ms).toBeGreaterThan(begun);
    expect(before).not.toBeNull();
    expect(worker.processOf(spec.id)).toEqual(before);
    const lines = await systemLines(spec);
    expect(lines).toContainEqual(expect.stringMatching(/^exited with code 3; restart 1 in 0\.[345] s$/));
    expect(lines).toContainEqual(expect.stringMatching(/^exited with code 3; restart 2 in /));
    await worker.call("POST", `${pathOf(spec)}/stop`, {});
    expect((await worker.wait(spec.id, "stopped")).last_exit).toMatchObject({
      requested: true,
      signal: "SIGTERM",
    });
    await destroyed(spec);
  },
  60_000,
);

test(
  "a machine comes to rest once its policy's bound is met, and begins to count anew when it is started",
  async () => {
    const spec = await started({
      command: shell("exit 3"),
      restart: { policy: "on-failure", max_retries: 1 },
    });
    // A guest that was too slow to be asked is booted anew, and stopped in between: that is no rest.
    const view = await seen(
      spec,
      ({ state, last_exit }) => state === "stopped" && last_exit?.restarting === undefined,
    );
    expect(view).toMatchObject({ restarts: 1, last_exit: { exit_code: 3, requested: false } });
    expect(await systemLines(spec)).toContain("not run again: it was restarted 1 times in 5 minutes");
    await worker.call("POST", `${pathOf(spec)}/start`);
    await seen(spec, (view) => view.restarts === 0);
    await seen(spec, (view) => view.state === "stopped" && view.restarts === 1);
    await destroyed(spec);
  },
  60_000,
);

test("a process that ends well rests with on-failure, and runs again with always", async () => {
  const once = await started({ command: shell("exit 0") });
  expect(await worker.wait(once.id, "stopped")).toMatchObject({ restarts: 0, last_exit: { exit_code: 0 } });
  const again = await started({ command: shell("exit 0"), restart: { policy: "always", max_retries: 0 } });
  await seen(again, (view) => view.restarts === 1);
  await destroyed(once);
  await destroyed(again);
}, 60_000);

test("a machine whose VM died is booted again", async () => {
  const spec = await started({ command: shell("exec sleep 1000") });
  const before = worker.processOf(spec.id);
  process.kill(before!.pid, "SIGKILL");
  const view = await seen(spec, (view) => view.restarts === 1 && view.state === "started");
  expect(view.last_exit).toMatchObject({ exit_code: null, restarting: true });
  expect(worker.processOf(spec.id)).not.toEqual(before);
  await destroyed(spec);
}, 60_000);

test("a machine that waits for its restart is stopped at once", async () => {
  const spec = await started({ command: shell("exit 3") });
  await seen(spec, (view) => view.restarts === 3);
  const asked = Date.now();
  await worker.call("POST", `${pathOf(spec)}/stop`, {});
  expect(await worker.wait(spec.id, "stopped")).toMatchObject({
    state: "stopped",
    last_exit: { requested: true },
  });
  expect(Date.now() - asked).toBeLessThan(10_000);
  await destroyed(spec);
}, 60_000);

test("an agent that comes back follows a process that was run again meanwhile", async () => {
  const spec = await started({ command: failing(2) });
  await seen(spec, (view) => view.restarts === 1);
  await worker.kill();
  await worker.start();
  const view = await seen(spec, ({ restarts, state }) => restarts! >= 2 && state === "started");
  expect(view.last_exit).toMatchObject({ restarting: true });
  await destroyed(spec);
}, 60_000);

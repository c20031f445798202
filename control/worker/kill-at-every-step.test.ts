/**
 * Each durable operation against kill -9: a real agent kills itself at each boundary of each step, the next one takes
 * over, and then the machine is at its goal or was never there, what the stream says is what is true, and after a destroy
 * nothing of it is left on this machine. Cases of containers run on two hosts, side by side.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { GodwitError } from "../contract/errors.ts";
import type { MachineSpec, MachineView } from "../contract/machine.ts";
import { create } from "./operations/create.ts";
import { destroy } from "./operations/destroy.ts";
import { Lane } from "./operations/lane.ts";
import { type Kind, type Operation, SETTLE } from "./operations/operation.ts";
import { start } from "./operations/start.ts";
import { stop } from "./operations/stop.ts";
import { suspend } from "./operations/suspend.ts";
import type { Host } from "./host.ts";
import { TestWorker } from "./testbed.fixture.ts";

/** The lists of steps are read off the operations themselves, so that a new step is tested without being named here. */
const noHost = { config: {}, store: {} } as Host;
const operations: Operation[] = [create(noHost), start(noHost), stop(noHost), destroy(noHost)];

interface Case {
  readonly kind: Kind;
  readonly killAt: string;
}
const casesOf = ({ kind, steps }: Operation): Case[] =>
  [...steps.map((step) => step.name), SETTLE].flatMap((step) =>
    ["before", "after"].map((when) => ({ kind, killAt: `${kind}:${step}:${when}` }))
  );
const cases = operations.flatMap(casesOf);
/** A start that fails is undone; it is made to fail by an image whose command does not exist. */
const undoCases = ["undo-hello", "undo-boot", "undo-attach", SETTLE].flatMap((step) =>
  ["before", "after"].map((when) => `start:${step}:${when}`)
);

/** A create that fails: the host has one link, and another machine has it. */
const undoCreateCases = ["undo-link", "undo-layer", "undo-folder", SETTLE].flatMap((step) =>
  ["before", "after"].map((when) => `create:${step}:${when}`)
);

const KILLED = 128 + 9;
const GOAL: Record<Kind, MachineView["state"]> = {
  create: "created",
  suspend: "suspended",
  start: "started",
  stop: "stopped",
  destroy: "destroyed",
};

/** With an image that runs, and one whose command does not exist. */
interface CaseHost {
  readonly worker: TestWorker;
  readonly working: Image;
  readonly failing: Image;
}
type Image = MachineSpec["image"];

const HOSTS = 2;
/** With its wait for a host. */
const CASE_MS_MAX = 120_000;
const hosts: CaseHost[] = [];
const places = new Lane(HOSTS);
beforeAll(async () => {
  for (let n = 0; n < HOSTS; n++) {
    const worker = await TestWorker.create();
    await worker.start();
    const failing = await worker.pull({ Cmd: ["/no/such/command"] });
    hosts.push({ worker, failing, working: await worker.pull() });
  }
}, 120_000);
afterAll(async () => {
  for (const { worker } of hosts) await worker.remove();
}, 60_000);

/** On a host that is no other case's meanwhile. */
async function onHost(run: (host: CaseHost) => Promise<void>): Promise<void> {
  await places.run(async () => {
    const host = hosts.pop()!;
    try {
      await run(host);
    } finally {
      hosts.push(host);
    }
  }, new AbortController().signal);
}

/** Brings a machine to where `kind` can be asked for. */
async function prepare(worker: TestWorker, kind: Kind, spec: MachineSpec): Promise<void> {
  if (kind === "create") return;
  await worker.call("PUT", `/v1/machines/${spec.id}`, spec);
  if (kind === "start") return;
  await worker.call("POST", `/v1/machines/${spec.id}/start`);
  expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started" });
}

async function ask(worker: TestWorker, kind: Kind, spec: MachineSpec): Promise<void> {
  const path = `/v1/machines/${spec.id}`;
  if (kind === "create") await worker.call("PUT", path, spec);
  else if (kind === "destroy") await worker.call("DELETE", path);
  else await worker.call("POST", `${path}/${kind}`, {});
}

/** The state that its owner shows and the stream tells; null where there is no such machine. */
async function viewOf(
  worker: TestWorker,
  id: string,
  ...states: string[]
): Promise<MachineView | null> {
  try {
    return await worker.wait(id, ...states);
  } catch (error) {
    if ((error as GodwitError).code === "machine.not_found") return null;
    throw error;
  }
}

async function expectPublished(worker: TestWorker, id: string, state: string | null): Promise<void> {
  const key = `${worker.config.host_id}/${id}`;
  const event = await worker.publishedEventually(
    key,
    (e) => (e?.deleted ? "destroyed" : e?.row?.state ?? null) === state,
  );
  expect(event?.deleted ? "destroyed" : event?.row?.state ?? null).toBe(state);
}

async function destroyAndExpectNothing(worker: TestWorker, spec: MachineSpec): Promise<void> {
  await worker.call("DELETE", `/v1/machines/${spec.id}`);
  expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
  expect(await worker.remains(spec.id)).toEqual([]);
  expect(await worker.links()).toEqual([]);
  await expectPublished(worker, spec.id, "destroyed");
}

describe("kill -9 of the agent", () => {
  for (const { kind, killAt } of cases) {
    test.concurrent(
      `${killAt}: the next agent brings the machine to its goal`,
      () =>
        onHost(async ({ worker, working }) => {
          const spec = worker.spec({ image: working });
          await worker.serving();
          await prepare(worker, kind, spec);
          const killed = worker.killedAt(killAt);
          // The answer may be cut off by the kill: what counts is what stands in the database.
          await ask(worker, kind, spec).catch(() => null);
          expect(await killed).toBe(KILLED);
          await worker.start();
          // What had not been accepted is asked for again, as control would.
          if (kind === "create") await ask(worker, kind, spec);
          expect(await viewOf(worker, spec.id, GOAL[kind])).toMatchObject({ state: GOAL[kind] });
          await expectPublished(worker, spec.id, GOAL[kind]);
          await destroyAndExpectNothing(worker, spec);
        }),
      CASE_MS_MAX,
    );
  }

  for (const killAt of undoCases) {
    test.concurrent(
      `${killAt}: the next agent undoes the failed start`,
      () =>
        onHost(async ({ worker, failing }) => {
          const spec = worker.spec({ image: failing });
          await worker.serving();
          await prepare(worker, "start", spec);
          const killed = worker.killedAt(killAt);
          await ask(worker, "start", spec).catch(() => null);
          expect(await killed).toBe(KILLED);
          await worker.start();
          const view = await viewOf(worker, spec.id, "started", "failed");
          expect(view).toMatchObject({ state: "failed", last_exit: { exit_code: null, requested: false } });
          expect(view?.reason).toContain("/no/such/command");
          expect(await worker.links()).toEqual([]);
          await expectPublished(worker, spec.id, "failed");
          await destroyAndExpectNothing(worker, spec);
        }),
      CASE_MS_MAX,
    );
  }

  /** One VM for all of them, booted once: whatever is killed, its app counts on. */
  describe("on VMs", () => {
    let vms: TestWorker;
    let spec: MachineSpec;
    let path: string;
    beforeAll(async () => {
      vms = await TestWorker.create({ vmm: "qemu" });
      await vms.start();
      await vms.pull({
        Cmd: ["/bin/sh", "-c", "n=0; while :; do n=$((n+1)); echo count $n; sleep 0.2; done"],
      });
      spec = vms.spec();
      path = `/v1/machines/${spec.id}`;
      await vms.call("PUT", path, spec);
      await vms.call("POST", `${path}/start`);
      expect(await vms.wait(spec.id, "started")).toMatchObject({ state: "started" });
      // Lines of a killed agent's last moment may come twice: the first of them is to be older than that.
      for (let tries = 0; !(await lines()).includes("count 10"); tries++) {
        expect(tries).toBeLessThan(500);
        await Bun.sleep(20);
      }
    }, 120_000);
    afterAll(() => vms.remove(), 60_000);

    const lines = async () =>
      (await vms.call<{ lines: { line: string }[] }>("GET", `${path}/logs`)).lines.map(({ line }) => line);
    const counts = (said: string[]) =>
      said.flatMap((line) => /^count (\d+)$/.exec(line)?.[1] ?? []).map(Number);
    const boots = (said: string[]) => said.filter((line) => line === "count 1").length;
    /** It counts on from what it had, and has not begun anew. */
    const expectItCountsOn = async (before: string[]) => {
      const last = Math.max(0, ...counts(before));
      for (let tries = 0;; tries++) {
        const said = await lines();
        expect(boots(said)).toBeLessThanOrEqual(boots(before));
        if (Math.max(0, ...counts(said)) > last) return;
        expect(tries).toBeLessThan(500);
        await Bun.sleep(20);
      }
    };
    const sleeping = async () => {
      await vms.call("POST", `${path}/suspend`);
      expect(await vms.wait(spec.id, "suspended", "started")).toMatchObject({
        state: "suspended",
        reason: null,
      });
      expect(await vms.links()).toEqual([]);
    };
    const awake = async () => {
      await vms.call("POST", `${path}/start`);
      expect(await vms.wait(spec.id, "started")).toMatchObject({ state: "started" });
    };

    for (const { kind, killAt } of [...casesOf(suspend(noHost)), ...casesOf(start(noHost))]) {
      test(`${killAt}: the next agent brings the machine to its goal with its memory`, async () => {
        await vms.serving();
        if (kind === "start") await sleeping();
        const before = await lines();
        const killed = vms.killedAt(killAt);
        await vms.call("POST", `${path}/${kind}`).catch(() => null);
        expect(await killed).toBe(KILLED);
        await vms.start();
        expect(await vms.wait(spec.id, GOAL[kind])).toMatchObject({ state: GOAL[kind] });
        if (kind === "suspend") await awake();
        await expectItCountsOn(before);
      }, 60_000);
    }
  });

  describe("on a host without a free link", () => {
    let full: TestWorker;
    beforeAll(async () => {
      full = await TestWorker.create({}, { links: 1 });
      await full.start();
      await full.pull();
      const first = full.spec();
      await full.call("PUT", `/v1/machines/${first.id}`, first);
    }, 60_000);
    afterAll(() => full.remove(), 60_000);

    for (const killAt of undoCreateCases) {
      test(`${killAt}: the next agent undoes the failed create`, async () => {
        const spec = full.spec();
        await full.serving();
        const killed = full.killedAt(killAt);
        await full.call("PUT", `/v1/machines/${spec.id}`, spec).catch(() => null);
        expect(await killed).toBe(KILLED);
        await full.start();
        // Answered once the undoing is through, and refused again for the same reason.
        const error = await full.call("PUT", `/v1/machines/${spec.id}`, spec).catch((e: GodwitError) =>
          e.code
        );
        expect(error).toBe("network.range_exhausted");
        expect(await full.remains(spec.id)).toEqual([]);
        expect((await full.call<{ machines: unknown[] }>("GET", "/v1/machines")).machines).toHaveLength(1);
        expect((await full.published()).has(`${full.config.host_id}/${spec.id}`)).toBe(false);
      }, 60_000);
    }
  });
});

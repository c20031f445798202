import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { MachineView } from "../contract/machine.ts";
import { TestWorker } from "./testbed.fixture.ts";

let worker: TestWorker;
beforeAll(async () => {
  worker = await TestWorker.create();
  await worker.start();
  await worker.pull();
}, 120_000);
afterAll(() => worker.remove(), 60_000);

describe("agent", () => {
  test("takes a machine through its life and leaves nothing of it", async () => {
    const spec = worker.spec();
    const path = `/v1/machines/${spec.id}`;
    expect((await worker.call<MachineView>("PUT", path, spec)).state).toBe("created");
    expect((await worker.call<MachineView>("POST", `${path}/start`)).state).toBe("starting");
    const started = await worker.wait(spec.id, "started");
    expect(started).toMatchObject({ state: "started", reason: null, cordoned: false });
    expect((await worker.call<MachineView>("POST", `${path}/start`)).state).toBe("started");
    await worker.call("POST", `${path}/stop`, {});
    const stopped = await worker.wait(spec.id, "stopped");
    expect(stopped.last_exit).toMatchObject({ requested: true, oom_killed: false, signal: "SIGTERM" });
    await worker.call("DELETE", path);
    expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
    expect(await worker.remains(spec.id)).toEqual([]);
    expect(await worker.links()).toEqual([]);
  }, 60_000);
});

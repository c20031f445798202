/** VMMs that hang or die under a real agent, on QEMU: two boots. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { MachineSpec } from "../contract/machine.ts";
import { TestWorker } from "./testbed.fixture.ts";

const TEST_MS_MAX = 180_000;

let worker: TestWorker;
let spec: MachineSpec;
let path: string;
beforeAll(async () => {
  worker = await TestWorker.create({ vmm: "qemu" });
  await worker.start();
  await worker.pull();
  spec = worker.spec();
  path = `/v1/machines/${spec.id}`;
  await worker.call("PUT", path, spec);
}, 120_000);
afterAll(() => worker.remove(), 60_000);

async function started(): Promise<number> {
  await worker.call("POST", `${path}/start`);
  expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started" });
  return worker.processOf(spec.id)!.pid;
}

test("a VMM that is killed is told, and its machine is stopped and starts again", async () => {
  process.kill(await started(), "SIGKILL");
  const view = await worker.wait(spec.id, "stopped");
  expect(view).toMatchObject({ state: "stopped", last_exit: { exit_code: null, requested: false } });
  expect(view.reason).toContain("killed on the host (SIGKILL)");
  expect(await worker.links()).toEqual([]);
}, TEST_MS_MAX);

test("a VMM that hangs cannot be suspended, and is stopped all the same", async () => {
  const pid = await started();
  process.kill(pid, "SIGSTOP");
  await worker.call("POST", `${path}/suspend`);
  // Stop overtakes what waits for an answer that will not come.
  await worker.call("POST", `${path}/stop`, {});
  const view = await worker.wait(spec.id, "stopped");
  expect(view).toMatchObject({ state: "stopped", last_exit: { exit_code: null, requested: true } });
  expect(view.reason).toContain("its VM was killed");
  expect(worker.processOf(spec.id)).toBeNull();
  await worker.call("DELETE", path);
  expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
  expect(await worker.remains(spec.id)).toEqual([]);
}, TEST_MS_MAX);

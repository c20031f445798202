import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { TestControl } from "./control.fixture.ts";

const DELETE = `mutation ($input: DeleteAppInput!) { deleteApp(input: $input) { name } }`;

let control: TestControl;
beforeAll(async () => {
  control = await TestControl.start();
}, 60_000);
beforeEach(() => {
  control.worker.before = () => {};
});
afterAll(() => control.close());

const livingOf = (name: string) => control.worker.living().filter((m) => m.spec.app_name === name);

async function untilGone(name: string): Promise<void> {
  const query = `query ($name: String!) { app(name: $name) { status } }`;
  for (;;) {
    const { app } = await control.api.ask(query, { name });
    if (app === null) return;
    expect(app.status).toBe("DELETING");
    await Bun.sleep(20);
  }
}

describe("deleteApp", () => {
  test("destroys the machines, then forgets the app, and its name is free again", async () => {
    await control.api.createApp("gone");
    await control.deployed("gone", "test/app:1");
    expect(await control.api.ask(DELETE, { input: { name: "gone" } })).toEqual({
      deleteApp: { name: "gone" },
    });
    await untilGone("gone");
    expect(livingOf("gone")).toEqual([]);
    expect(await control.api.codeOf(DELETE, { input: { name: "gone" } })).toBe("app.not_found");
    await control.api.createApp("gone");
  });

  test("repeated with its key answers the same, though the app is gone", async () => {
    await control.api.createApp("twice");
    const input = { name: "twice", idempotencyKey: "delete-twice" };
    await control.api.ask(DELETE, { input });
    await untilGone("twice");
    expect(await control.api.ask(DELETE, { input })).toEqual({ deleteApp: { name: "twice" } });
  });

  test("stops a deploy that is under way", async () => {
    await control.api.createApp("stopped");
    const id = await control.deploy("stopped", "test/hang:1");
    await control.api.ask(DELETE, { input: { name: "stopped" } });
    await untilGone("stopped");
    expect(livingOf("stopped")).toEqual([]);
    expect(await control.api.ask(`query ($id: String!) { release(id: $id) { status } }`, { id })).toEqual({
      release: null,
    });
  });

  test("waits for a host that is away, and finishes when it is back", async () => {
    await control.api.createApp("away");
    await control.deployed("away", "test/app:1");
    await control.worker.goAway();
    await control.api.ask(DELETE, { input: { name: "away" } });
    const { app } = await control.api.ask(`{ app(name: "away") { status } }`);
    expect(app.status).toBe("DELETING");
    expect(
      await control.api.codeOf(
        `mutation { deployImage(input: { app: "away", image: "test/app:1" }) { release { id } } }`,
      ),
    ).toBe("app.deleting");
    control.worker.start();
    await untilGone("away");
    expect(livingOf("away")).toEqual([]);
  });
});

describe("destroyMachine", () => {
  test("is carried out later when the host is away now", async () => {
    await control.api.createApp("reaped");
    await control.deployed("reaped", "test/app:1");
    const machineId = livingOf("reaped")[0]!.view.id;
    await control.worker.goAway();
    const data = await control.api.ask(
      `mutation ($input: MachineActionInput!) { destroyMachine(input: $input) { machine { state hostStatus } } }`,
      { input: { machineId } },
    );
    expect(data.destroyMachine.machine).toEqual({ state: "UNKNOWN", hostStatus: "UNREACHABLE" });
    control.worker.start();
    const query = `query ($id: String!) { machine(id: $id) { state } }`;
    while ((await control.api.ask(query, { id: machineId })).machine.state !== "DESTROYED") {
      await Bun.sleep(20);
    }
    expect(livingOf("reaped")).toEqual([]);
  });
});

describe("suspendMachine, stopMachine, startMachine", () => {
  test("stop and start a machine once per key", async () => {
    await control.api.createApp("paused");
    await control.deployed("paused", "test/app:1");
    const machineId = livingOf("paused")[0]!.view.id;
    const stop = `mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { state
      lastExit { exitCode requested } } } }`;
    const start =
      `mutation ($input: MachineActionInput!) { startMachine(input: $input) { machine { state } } }`;
    const stopped = await control.api.ask(stop, { input: { machineId, idempotencyKey: "stop-1" } });
    expect(stopped.stopMachine.machine).toEqual({
      state: "STOPPED",
      lastExit: { exitCode: 0, requested: true },
    });
    expect((await control.api.ask(`{ app(name: "paused") { status } }`)).app.status).toBe("SUSPENDED");
    const started = await control.api.ask(start, { input: { machineId } });
    expect(started.startMachine.machine.state).toBe("STARTED");
    const suspend =
      `mutation ($input: MachineActionInput!) { suspendMachine(input: $input) { machine { state } } }`;
    const slept = await control.api.ask(suspend, { input: { machineId } });
    expect(slept.suspendMachine.machine.state).toBe("SUSPENDED");
    await control.api.ask(start, { input: { machineId } });
    // The key has done its work: asked again, it does not stop the machine a second time.
    const again = await control.api.ask(stop, { input: { machineId, idempotencyKey: "stop-1" } });
    expect(again.stopMachine.machine.state).toBe("STARTED");
    expect(await control.api.codeOf(stop, { input: { machineId, signal: "kill -9" } })).toBe(
      "machine.stop_invalid",
    );
  });

  test("GET /v1/machines/ID/wait passes the worker's answer on", async () => {
    await control.api.createApp("waited");
    await control.deployed("waited", "test/app:1");
    const { id } = livingOf("waited")[0]!.view;
    const response = await control.api.request(`/v1/machines/${id}/wait?state=started&timeout_s=5`);
    expect((await response.json() as { state: string }).state).toBe("started");
    const timeout = await control.api.request(`/v1/machines/${id}/wait?state=stopped&timeout_s=0`);
    expect(timeout.status).toBe(408);
    const bad = await control.api.request(`/v1/machines/${id}/wait?state=asleep`);
    expect((await bad.json() as { error: { code: string } }).error.code).toBe("machine.wait_invalid");
  });
});

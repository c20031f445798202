/** A runner that is gone at any call to a worker is replaced by another, which ends the release cleanly. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TestControl } from "./control.fixture.ts";

let control: TestControl;
beforeAll(async () => {
  control = await TestControl.start();
}, 60_000);
afterAll(() => control.close());

/** Stops the runner while its `nth` call of a deploy is under way, and starts another one. */
async function replaceRunnerAtCall(nth: number): Promise<boolean> {
  let calls = 0;
  let replaced = false;
  const free = Promise.withResolvers<void>();
  const met = Promise.withResolvers<void>();
  control.worker.before = async () => {
    if (++calls !== nth) return;
    met.resolve();
    await free.promise;
  };
  const id = await control.deploy("resumed", "test/app:1");
  const end = control.ended(id);
  await Promise.race([
    end,
    met.promise.then(async () => {
      replaced = true;
      const stopped = control.runner.stop();
      free.resolve();
      await stopped;
      control.runner = control.newRunner();
      control.runner.start();
    }),
  ]);
  expect((await end).error).toBeNull();
  return replaced;
}

describe("Runner", () => {
  test("resumes a release at whichever call to a worker the last runner was stopped", async () => {
    await control.api.createApp("resumed");
    let nth = 1;
    while (await replaceRunnerAtCall(nth)) {
      control.worker.before = () => {};
      // One machine serves, that of the newest release, and no other is left.
      const living = control.worker.living().map((m) => [m.view.state, m.view.cordoned]);
      expect([nth, living]).toEqual([nth, [["started", false]]]);
      nth++;
    }
    // resolve, offer, image, create, cordon, start, wait, get, listeners, uncordon; then the old machine's end
    expect(nth).toBeGreaterThan(12);
  }, 60_000);

  test("resumes an undoing that was interrupted", async () => {
    await control.api.createApp("undone");
    const free = Promise.withResolvers<void>();
    const met = Promise.withResolvers<void>();
    control.worker.before = async (call) => {
      if (!call.startsWith("DELETE /v1/machines")) return;
      met.resolve();
      await free.promise;
    };
    const end = control.ended(await control.deploy("undone", "test/exit3:1"));
    await met.promise;
    const stopped = control.runner.stop();
    free.resolve();
    await stopped;
    control.worker.before = () => {};
    control.runner = control.newRunner();
    control.runner.start();
    expect((await end).error!.code).toBe("release.machine_exited");
    expect(control.worker.living().filter((m) => m.spec.app_name === "undone")).toEqual([]);
  }, 30_000);

  test("two runners beside each other run each release once", async () => {
    const second = control.newRunner();
    second.start();
    try {
      const names = Array.from({ length: 6 }, (_, i) => `shared-${i}`);
      for (const name of names) await control.api.createApp(name);
      const ends = await Promise.all(names.map((name) => control.deployed(name, "test/app:1")));
      expect(ends.map((end) => end.status)).toEqual(names.map(() => "SUCCEEDED"));
      const shared = control.worker.living().filter((m) => names.includes(m.spec.app_name));
      expect(shared).toHaveLength(names.length);
    } finally {
      await second.stop();
    }
  }, 30_000);

  test("goes on after Postgres has cut all its connections", async () => {
    await control.api.createApp("cut");
    const held = Promise.withResolvers<void>();
    const met = Promise.withResolvers<void>();
    control.worker.before = async (call) => {
      if (!call.endsWith("/start")) return;
      met.resolve();
      await held.promise;
    };
    const id = await control.deploy("cut", "test/app:1");
    await met.promise;
    await control.api.store.read((sql) =>
      sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`
    );
    held.resolve();
    control.worker.before = () => {};
    let status = "";
    while (status !== "SUCCEEDED") {
      const answer = await control.api.query(
        `query ($id: String!) { release(id: $id) { status error { message } } }`,
        { id },
      );
      status = answer.data?.release.status ?? "";
      expect(status).not.toBe("FAILED");
      await Bun.sleep(20);
    }
    expect(control.worker.living().filter((m) => m.spec.app_name === "cut")).toHaveLength(1);
  }, 30_000);
});

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { GodwitError } from "../contract/errors.ts";
import { FixtureWorker, IMAGE_DIGEST } from "../place/worker.fixture.ts";
import { DEPLOY } from "../api/api.fixture.ts";
import { livingMachinesOfApp } from "../store/machines.ts";
import { appByName } from "../store/apps.ts";
import { TestControl } from "./control.fixture.ts";

let control: TestControl;
let app: string;
let apps = 0;
beforeAll(async () => {
  control = await TestControl.start();
}, 60_000);
beforeEach(async () => {
  control.worker.before = () => {};
  await control.api.createApp(app = `web-${++apps}`);
});
afterAll(() => control.close());

async function ledger(name: string) {
  return await control.api.store.read(async (sql) =>
    await livingMachinesOfApp(sql, (await appByName(sql, name))!.id)
  );
}
const livingOf = (name: string) => control.worker.living().filter((m) => m.spec.app_name === name);

/** Nothing of a failed deploy is left, neither at the worker nor in the ledger. */
async function expectNothingMade(): Promise<void> {
  expect(livingOf(app)).toEqual([]);
  expect(await ledger(app)).toEqual([]);
  const { app: shown } = await control.api.ask(
    `query ($app: String!) { app(name: $app) {
    status currentRelease { id } machines { edges { node { id } } } } }`,
    { app },
  );
  expect(shown).toEqual({ status: "PENDING", currentRelease: null, machines: { edges: [] } });
}

describe("deploy()", () => {
  test("takes an image to a started machine that serves", async () => {
    const settings = { restart: { policy: "always" }, swap_size_mb: 64 };
    const release = await control.deployed(app, "test/app:1", {
      env: [{ name: "A", value: "b" }],
      machine: settings,
    });
    expect(release.error).toBeNull();
    expect(release.status).toBe("SUCCEEDED");
    expect(release.imageDigest).toBe(IMAGE_DIGEST);
    const { app: shown } = await control.api.ask(
      `query ($app: String!) { app(name: $app) {
      status url currentRelease { version } machines { edges { node {
        state hostStatus region image privateIp vmm guest { cpus memoryMb } lastExit { exitCode } } } } } }`,
      {
        app,
      },
    );
    expect(shown.status).toBe("DEPLOYED");
    expect(shown.url).toBe(`http://${app}.localhost:8080/`);
    expect(shown.currentRelease.version).toBe(1);
    expect(shown.machines.edges).toEqual([{
      node: {
        state: "STARTED",
        hostStatus: "OK",
        region: "dev",
        image: "test/app:1",
        privateIp: "172.20.16.3",
        vmm: "runc",
        guest: { cpus: 1, memoryMb: 256 },
        lastExit: null,
      },
    }]);
    const [machine] = livingOf(app);
    expect(machine!.spec).toMatchObject({
      env: { A: "b" },
      restart: { policy: "always", max_retries: 10 },
      swap_size_mb: 64,
    });
    expect(machine!.view.cordoned).toBe(false);
  });

  test("cordons a machine before it starts, so that nothing reaches it before the gate", async () => {
    control.worker.calls.length = 0;
    await control.deployed(app, "test/app:1");
    const verbs = control.worker.calls.flatMap((call) =>
      /POST \/v1\/machines\/\w+\/(\w+)/.exec(call)?.[1] ?? []
    );
    expect(verbs).toEqual(["cordon", "start", "uncordon"]);
  });

  test("replaces the previous release's machines, as many as there were", async () => {
    await control.deployed(app, "test/app:1");
    const [before] = livingOf(app);
    const second = await control.deployed(app, "test/app6:2", { services: null });
    expect(second.status).toBe("SUCCEEDED");
    const after = livingOf(app);
    expect(after).toHaveLength(1);
    expect(after[0]!.view.id).not.toBe(before!.view.id);
    expect(before!.view.last_exit?.requested).toBe(true);
    expect((await ledger(app)).map((line) => line.id)).toEqual([after[0]!.view.id]);
  });

  test("leaves the previous release serving when the next one fails", async () => {
    await control.deployed(app, "test/app:1");
    const [before] = livingOf(app);
    const second = await control.deployed(app, "test/exit3:1");
    expect(second.status).toBe("FAILED");
    expect(livingOf(app).map((m) => [m.view.id, m.view.state, m.view.cordoned])).toEqual([
      [before!.view.id, "started", false],
    ]);
    const { app: shown } = await control.api.ask(
      `query ($app: String!) { app(name: $app) { status currentRelease { version } releases(first: 5) {
        edges { node { version status } } } } }`,
      { app },
    );
    expect(shown).toEqual({
      status: "DEPLOYED",
      currentRelease: { version: 1 },
      releases: {
        edges: [{ node: { version: 2, status: "FAILED" } }, { node: { version: 1, status: "SUCCEEDED" } }],
      },
    });
  });

  const failures: [what: string, image: string, code: string, words: RegExp][] = [
    ["an unknown image", "test/unknown:1", "image.not_found", /no image test\/unknown:1/],
    [
      "a command that exits 3",
      "test/exit3:1",
      "release.machine_exited",
      /^Machine \w{14} exited with code 3 .*last lines:\n {2}last words$/s,
    ],
    [
      "a command that exits 3 and is run again",
      "test/crashes:1",
      "release.machine_exited",
      /^Machine \w{14} exited with code 3/,
    ],
    ["a process killed for memory", "test/oom:1", "release.machine_out_of_memory", /out of memory.* 256 MB/],
    ["a boot that fails", "test/panic:1", "release.machine_failed", /step mounts: no \/dev\/vdb/],
    [
      "a wrong address and port",
      "test/local:1",
      "release.not_listening",
      /listens on 127\.0\.0\.1:3000, not on 0\.0\.0\.0:8080, after 1 s/,
    ],
    ["nothing that listens", "test/deaf:1", "release.not_listening", /does not listen on 0\.0\.0\.0:8080/],
    ["a machine that never starts", "test/hang:1", "release.start_timeout", /did not start within 1 s/],
  ];
  for (const [what, image, code, words] of failures) {
    test(`fails for ${what} with ${code} and leaves nothing half made`, async () => {
      const release = await control.deployed(app, image, { waitTimeoutS: 1 });
      expect(release.status).toBe("FAILED");
      expect(release.error!.code).toBe(code);
      expect(release.error!.message).toMatch(words);
      await expectNothingMade();
    });
  }

  test("fails for a worker without room, and leaves nothing half made", async () => {
    control.worker.before = (call) => {
      if (call !== "POST /v1/offers") return;
      throw new GodwitError("place.no_capacity", "full", { fault: "us", retryable: true });
    };
    const release = await control.deployed(app, "test/app:1");
    expect(release.error!.code).toBe("place.no_capacity");
    await expectNothingMade();
  });

  test("undoes a machine whose creation failed half way", async () => {
    control.worker.before = (call) => {
      if (!call.endsWith("/start")) return;
      throw new GodwitError("machine.disk_full", "Cannot write the layer: disk full", { fault: "us" });
    };
    const release = await control.deployed(app, "test/app:1");
    expect(release.error!.code).toBe("machine.disk_full");
    await expectNothingMade();
  });

  test("with no services needs nothing that listens, but a process that stays", async () => {
    expect((await control.deployed(app, "test/deaf:1", { services: [] })).status).toBe("SUCCEEDED");
    const restarted = await control.deployed(app, "test/crashes:1", { services: [] });
    expect(restarted.error).toMatchObject({ code: "release.machine_exited" });
    const exits = await control.deployed(app, "test/exit3:1", { services: [] });
    expect(exits.error!.code).toBe("release.machine_exited");
  });

  test("a second deploy while one runs is refused, and afterwards is not", async () => {
    const held = Promise.withResolvers<void>();
    control.worker.before = (call) => call === "POST /v1/images" ? held.promise : undefined;
    const first = await control.deploy(app, "test/app:1");
    const input = { app, image: "test/app:2" };
    expect(await control.api.codeOf(DEPLOY, { input })).toBe("release.in_progress");
    held.resolve();
    expect((await control.ended(first)).status).toBe("SUCCEEDED");
    expect((await control.deployed(app, "test/app:2")).status).toBe("SUCCEEDED");
  });

  test("of ten deploys at once one is taken", async () => {
    const input = { app, image: "test/app:1" };
    const codes = await Promise.all(
      Array.from({ length: 10 }, () => control.api.query(DEPLOY, { input })),
    );
    const taken = codes.filter((answer) => answer.errors === undefined);
    expect(taken).toHaveLength(1);
    await control.ended(taken[0]!.data.deployImage.release.rowId);
  });

  test("goes on when the worker is back after a moment, and gives up when it stays away", async () => {
    let away = true;
    control.worker.before = async (call) => {
      if (!call.startsWith("PUT") || !away) return;
      away = false;
      await control.worker.goAway();
      control.worker.start();
    };
    expect((await control.deployed(app, "test/app:1")).status).toBe("SUCCEEDED");
    await control.worker.goAway();
    const release = await control.deployed(app, "test/app:1");
    control.worker.start();
    expect(release.error!.code).toBe("place.host_unreachable");
    expect(livingOf(app)).toHaveLength(1);
  });

  test("takes the cheaper of two workers, and brings the image there", async () => {
    const other = new FixtureWorker("host-2");
    other.cost = 0.1;
    try {
      await control.register(other);
      expect((await control.deployed(app, "test/app:1")).status).toBe("SUCCEEDED");
      expect(livingOf(app)).toEqual([]);
      expect(other.living()).toHaveLength(1);
      expect(other.calls).toContain("POST /v1/images");
      await other.goAway();
      const { app: shown } = await control.api.ask(
        `query ($app: String!) { app(name: $app) {
        machines { edges { node { state hostId hostStatus reason } } } } }`,
        { app },
      );
      expect(shown.machines.edges[0].node).toEqual({
        state: "UNKNOWN",
        hostId: "host-2",
        hostStatus: "UNREACHABLE",
        reason: "host host-2 cannot be reached",
      });
    } finally {
      await control.api.store.read((sql) => sql`UPDATE hosts SET seen_at = 'epoch' WHERE id = 'host-2'`);
      await other.close();
    }
  });
});

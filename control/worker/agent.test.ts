/** A real agent on this machine, machines on runc: its API over the socket, and what it does when it comes back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { testRedis } from "../../deploy/servers/testbed.ts";
import type { GodwitError } from "../contract/errors.ts";
import { logStream } from "../contract/events.ts";
import { type MachineSpec, type MachineView, Services } from "../contract/machine.ts";
import { newMachineId } from "../contract/names.ts";
import type { HostView, OfferAnswer } from "../contract/worker-api.ts";
import { TestWorker } from "./testbed.fixture.ts";

let worker: TestWorker;
beforeAll(async () => {
  worker = await TestWorker.create();
  await worker.start();
  await worker.pull();
}, 120_000);
afterAll(() => worker.remove(), 60_000);

const pathOf = ({ id }: { id: string }) => `/v1/machines/${id}`;
const codeOf = (call: Promise<unknown>) => call.then(() => "no error", (error: GodwitError) => error.code);

async function created(change: Partial<MachineSpec> = {}): Promise<MachineSpec> {
  const spec = worker.spec(change);
  await worker.call("PUT", pathOf(spec), spec);
  return spec;
}
async function started(change: Partial<MachineSpec> = {}): Promise<MachineSpec> {
  const spec = await created(change);
  await worker.call("POST", `${pathOf(spec)}/start`);
  expect(await worker.wait(spec.id, "started")).toMatchObject({ state: "started", reason: null });
  return spec;
}
async function destroyed(...specs: MachineSpec[]): Promise<void> {
  await Promise.all(specs.map((spec) => worker.call("DELETE", pathOf(spec))));
  for (const spec of specs) {
    expect((await worker.wait(spec.id, "destroyed")).state).toBe("destroyed");
    expect(await worker.remains(spec.id)).toEqual([]);
  }
}

describe("a machine's life", () => {
  test("goes from created to destroyed, and nothing of it is left", async () => {
    const spec = await started();
    const view = await worker.call<MachineView>("POST", `${pathOf(spec)}/start`);
    expect(view.state).toBe("started");
    expect(view.address4).toMatch(/^172\./);
    await worker.call("POST", `${pathOf(spec)}/stop`, {});
    expect((await worker.wait(spec.id, "stopped")).last_exit).toMatchObject({
      requested: true,
      signal: "SIGTERM",
      oom_killed: false,
      reason: null,
    });
    await destroyed(spec);
    expect(await worker.links()).toEqual([]);
  }, 60_000);

  test("tells the exit code of a command that ends by itself", async () => {
    const spec = await created({ command: ["/bin/sh", "-c", "echo last words; exit 3"] });
    await worker.call("POST", `${pathOf(spec)}/start`);
    const view = await worker.wait(spec.id, "stopped", "failed");
    expect(view).toMatchObject({
      state: "stopped",
      last_exit: { exit_code: 3, signal: null, requested: false },
    });
    const { lines } = await worker.call<{ lines: { stream: string; line: string }[] }>(
      "GET",
      `${pathOf(spec)}/logs`,
    );
    expect(lines.map(({ stream, line }) => `${stream}: ${line}`)).toEqual([
      "system: started",
      "stdout: last words",
      "system: process ended with status 3",
      "system: exited with code 3",
    ]);
    await destroyed(spec);
  }, 60_000);

  test("gives its processes what was asked for: files, secrets, sysctls, limits", async () => {
    const spec = await created({
      env: { KEY: Buffer.from("secret\n").toString("base64") },
      files: [
        { guest_path: "/etc/made/a", raw_value: Buffer.from("literal\n").toString("base64"), mode: 0o600 },
        { guest_path: "/etc/key", secret_name: "KEY", mode: 0o600 },
      ],
      sysctls: { "net.ipv4.ip_default_ttl": "77" },
      rlimits: [{ name: "core", soft: 1_024, hard: "unlimited" }],
      processes: [
        {
          exec: [
            "/bin/sh",
            "-c",
            "cat /etc/made/a /etc/key /proc/sys/net/ipv4/ip_default_ttl; ulimit -S -c; ulimit -H -c",
          ],
          entrypoint: null,
          cmd: null,
          env: {},
          user: null,
        },
        { exec: null, entrypoint: ["/bin/sleep"], cmd: ["1000"], env: {}, user: "1000" },
      ],
    });
    await worker.call("POST", `${pathOf(spec)}/start`);
    expect((await worker.wait(spec.id, "stopped", "failed")).last_exit).toMatchObject({ exit_code: 0 });
    type Answer = { lines: { stream: string; line: string }[] };
    const { lines } = await worker.call<Answer>("GET", `${pathOf(spec)}/logs`);
    expect(lines.filter(({ stream }) => stream === "stdout").map(({ line }) => line))
      .toEqual(["literal", "secret", "77", "2", "unlimited"]);
    await destroyed(spec);
  }, 60_000);

  test("loses none of the lines that a process wrote just before its end", async () => {
    const count = 'i=0; while [ $i -lt 150 ]; do echo "$i"; i=$((i+1)); done';
    const spec = await created({ command: ["/bin/sh", "-c", count] });
    await worker.call("POST", `${pathOf(spec)}/start`);
    expect((await worker.wait(spec.id, "stopped", "failed")).last_exit).toMatchObject({ exit_code: 0 });
    type Answer = { lines: { stream: string; line: string }[] };
    const { lines } = await worker.call<Answer>("GET", `${pathOf(spec)}/logs`);
    expect(lines.filter(({ stream }) => stream === "stdout").map(({ line }) => Number(line)))
      .toEqual(Array.from({ length: 150 }, (_, n) => n));
    await destroyed(spec);
  }, 60_000);

  test("ends in failed with the step and the reason where the command does not exist", async () => {
    const spec = await created({ command: ["/no/such/command"] });
    await worker.call("POST", `${pathOf(spec)}/start`);
    const view = await worker.wait(spec.id, "started");
    expect(view).toMatchObject({ state: "failed", started_at_ms: null });
    expect(view.reason).toContain("/no/such/command");
    await destroyed(spec);
  }, 60_000);

  test("is killed after its timeout where it ignores the signal", async () => {
    const command = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"] as [string, ...string[]];
    const spec = await started({ command, stop: { signal: "SIGTERM", timeout_s: 1 } });
    await worker.call("POST", `${pathOf(spec)}/stop`, {});
    expect(await worker.wait(spec.id, "stopped")).toMatchObject({
      state: "stopped",
      last_exit: { signal: "SIGKILL", requested: true },
    });
    await destroyed(spec);
  }, 60_000);

  test("ends at once when destroyed while it starts", async () => {
    const spec = await created();
    await worker.call("POST", `${pathOf(spec)}/start`);
    await destroyed(spec);
  }, 60_000);

  test("comes to rest when stopped while it starts", async () => {
    const spec = await created();
    await worker.call("POST", `${pathOf(spec)}/start`);
    expect((await worker.call<MachineView>("POST", `${pathOf(spec)}/stop`, {})).state).toBe("stopping");
    expect((await worker.wait(spec.id, "stopped")).state).toBe("stopped");
    await destroyed(spec);
  }, 60_000);

  test("is published with its services, and its env is not", async () => {
    const http_options = { compress: true, rate_limit: { requests: 5, per_s: 1 } };
    const services = Services.parse([
      { internal_port: 8_080, ports: [{ port: 80, force_https: true, http_options }] },
    ]);
    const spec = await started({ services });
    const key = `${worker.config.host_id}/${spec.id}`;
    const event = await worker.publishedEventually(key, (e) => e?.row?.state === "started");
    expect(event).toMatchObject({
      owner: `worker:${worker.config.host_id}`,
      table: "machines",
      row: { state: "started", app_id: spec.app_id },
    });
    expect(event!.row!.services).toEqual(services);
    await worker.call("POST", `${pathOf(spec)}/cordon`);
    const cordoned = await worker.publishedEventually(key, (e) => e?.row?.cordoned === true);
    expect(cordoned?.version.seq).toBeGreaterThan(event!.version.seq);
    expect(JSON.stringify([...(await worker.published()).values()])).not.toContain("canary-in-env");
    await destroyed(spec);
    expect((await worker.publishedEventually(key, (e) => e?.deleted === true))?.deleted).toBe(true);
  }, 60_000);

  test("sends its lines to its app's log stream", async () => {
    const spec = await started();
    const redis = new Redis(await testRedis("admin"));
    const lines: string[] = [];
    for (let last = "0"; lines.length < 2;) {
      const answer = await redis.xread("BLOCK", 10_000, "STREAMS", logStream(spec.app_id), last);
      if (answer === null) break;
      for (const [id, fields] of answer[0]![1]) {
        last = id;
        lines.push(fields[fields.indexOf("line") + 1]!);
      }
    }
    redis.disconnect();
    expect(lines.sort()).toEqual(["hello", "started"]);
    await destroyed(spec);
  }, 60_000);
});

describe("the worker API", () => {
  test("is on a socket that only its owner may open", () => {
    expect(statSync(worker.config.listen_socket).mode & 0o777).toBe(0o600);
  });

  test("answers repeated requests with what is", async () => {
    const spec = worker.spec();
    const [one, two] = await Promise.all(
      [1, 2].map(() => worker.call<MachineView>("PUT", pathOf(spec), spec)),
    );
    expect(one).toEqual(two!);
    expect(await codeOf(worker.call("PUT", pathOf(spec), { ...spec, env: {} }))).toBe("machine.exists");
    expect((await worker.call<MachineView>("POST", `${pathOf(spec)}/stop`, {})).state).toBe("created");
    const list = await worker.call<{ machines: MachineView[] }>("GET", `/v1/machines?app_id=${spec.app_id}`);
    expect(list.machines.map(({ id }) => id)).toEqual([spec.id]);
    expect(JSON.stringify(list)).not.toContain("canary-in-env");
    await destroyed(spec);
    expect((await worker.call<MachineView>("DELETE", pathOf(spec))).state).toBe("destroyed");
  }, 60_000);

  test("refuses what it cannot do with a typed error", async () => {
    const spec = worker.spec();
    expect(await codeOf(worker.call("GET", `/v1/machines/${newMachineId()}`))).toBe("machine.not_found");
    expect(await codeOf(worker.call("PUT", pathOf(spec), { ...spec, env: { "1A": "x" } }))).toBe(
      "request.invalid",
    );
    expect(await codeOf(worker.call("PUT", pathOf(spec), { ...spec, region: "zzz" }))).toBe(
      "machine.wrong_region",
    );
    const digest = `sha256:${"0".repeat(64)}`;
    const unknown = { ...spec, image: { ref: "oci:/nowhere", digest } };
    expect(await codeOf(worker.call("PUT", pathOf(spec), unknown))).toBe("image.missing");
    // Nothing is half made: the same id is free for a proper request.
    expect(await codeOf(worker.call("GET", pathOf(spec)))).toBe("machine.not_found");
    await worker.call("PUT", pathOf(spec), spec);
    expect(await codeOf(worker.call("GET", `${pathOf(spec)}/wait?state=nonsense`))).toBe("request.invalid");
    expect(await codeOf(worker.call("GET", `${pathOf(spec)}/listeners`))).toBe("machine.not_started");
    expect(await codeOf(worker.call("GET", "/v1/nothing"))).toBe("worker.no_such_path");
    await destroyed(spec);
    expect(await codeOf(worker.call("POST", `${pathOf(spec)}/start`))).toBe("machine.destroyed");
  }, 60_000);

  test("answers a wait that is over with 408, and one that cannot come true at once", async () => {
    const spec = await started();
    expect(await codeOf(worker.call("GET", `${pathOf(spec)}/wait?state=stopped&timeout_s=0.1`)))
      .toBe("machine.wait_timeout");
    await worker.call("POST", `${pathOf(spec)}/stop`, {});
    expect((await worker.wait(spec.id, "started")).state).toStartWith("stop");
    await destroyed(spec);
  }, 60_000);

  test("offers what is free, reserves it, and takes it back", async () => {
    const host = await worker.call<HostView>("GET", "/v1/host");
    expect(host).toMatchObject({
      id: worker.config.host_id,
      vmm: "runc",
      acceleration: "none",
      memory_mb: 16_384,
    });
    const guest = { cpu_kind: "shared", cpus: 1, memory_mb: 8_192 };
    const ask = () => ({ machine_id: newMachineId(), guest, image_digest: worker.image!.digest });
    const offers = [
      await worker.call<OfferAnswer>("POST", "/v1/offers", ask()),
      await worker.call<OfferAnswer>("POST", "/v1/offers", ask()),
    ];
    expect(offers.map(({ cost }) => cost)).toEqual([0.5 - 0.2, 1 - 0.2]);
    expect(await codeOf(worker.call("POST", "/v1/offers", ask()))).toBe("place.no_capacity");
    for (const { id } of offers) await worker.call("DELETE", `/v1/offers/${id}`);
    expect((await worker.call<HostView>("GET", "/v1/host")).memory_free_mb).toBe(host.memory_free_mb);
  });

  test("shows its metrics", async () => {
    const answer = await fetch("http://worker/metrics", { unix: worker.config.listen_socket });
    const text = await answer.text();
    expect(text).toContain('godwit_worker_operations_total{kind="start",outcome="done"}');
    expect(text).toContain("godwit_worker_outbox_entries 0");
  });
});

describe("an agent that comes back", () => {
  test("finds three machines running after kill -9, the same processes", async () => {
    const specs = await Promise.all([1, 2, 3].map(() => started()));
    const before = specs.map(({ id }) => worker.processOf(id));
    expect(before).not.toContain(null);
    await worker.kill("SIGKILL");
    await worker.start();
    for (const { id } of specs) {
      expect((await worker.call<MachineView>("GET", `/v1/machines/${id}`)).state).toBe("started");
    }
    expect(specs.map(({ id }) => worker.processOf(id))).toEqual(before);
    // It watches them as before: it hears of an exit, and can ask for one.
    await worker.call("POST", `${pathOf(specs[0]!)}/stop`, {});
    expect((await worker.wait(specs[0]!.id, "stopped")).last_exit?.signal).toBe("SIGTERM");
    expect(
      (await worker.call<{ lines: { line: string }[] }>("GET", `${pathOf(specs[1]!)}/logs`)).lines.map((l) =>
        l.line
      ),
    )
      .toContain("hello");
    await destroyed(...specs);
  }, 60_000);

  test("keeps a machine whose image is no longer on the host, and can stop it", async () => {
    await worker.pull({ Cmd: ["/bin/sh", "-c", "exec sleep 1001"] });
    const image = worker.image!;
    const spec = await started();
    const before = worker.processOf(spec.id);
    await worker.kill("SIGKILL");
    const bases = join(worker.config.state_folder, "images", "bases");
    rmSync(join(bases, image.digest.replace("sha256:", "")), { recursive: true });
    await worker.start();
    expect(await worker.call<MachineView>("GET", pathOf(spec))).toMatchObject({ state: "started" });
    expect(worker.processOf(spec.id)).toEqual(before);
    await worker.call("POST", `${pathOf(spec)}/stop`, {});
    expect((await worker.wait(spec.id, "stopped")).last_exit).toMatchObject({
      requested: true,
      reason: null,
    });
    await destroyed(spec);
    await worker.pull();
  }, 60_000);

  test("says of a VM that is gone that it was gone", async () => {
    const spec = await started();
    await worker.kill("SIGKILL");
    await worker.endVm(spec.id);
    await worker.start();
    const view = await worker.wait(spec.id, "stopped");
    expect(view).toMatchObject({
      state: "stopped",
      last_exit: { exit_code: null, requested: false, reason: "the VM was gone when the agent came back" },
    });
    await destroyed(spec);
  }, 60_000);

  test("starts again what ran before the host restarted", async () => {
    const ran = await started();
    const rested = await created();
    await worker.kill("SIGKILL");
    await worker.endVm(ran.id);
    worker.withDatabase((db) => db.run("UPDATE facts SET value = 'another boot' WHERE name = 'boot_id'"));
    await worker.start();
    expect((await worker.wait(ran.id, "started")).state).toBe("started");
    expect((await worker.call<MachineView>("GET", pathOf(rested))).state).toBe("created");
    await destroyed(ran, rested);
  }, 60_000);

  test("starts again what ran before its stack was taken down without it", async () => {
    const ran = await started();
    await worker.kill("SIGKILL");
    await worker.endVm(ran.id);
    rmSync(worker.config.run_folder, { recursive: true });
    await worker.start();
    expect((await worker.wait(ran.id, "started")).state).toBe("started");
    await destroyed(ran);
  }, 60_000);

  test("starts again what ran before a shutdown, and nothing that had been stopped", async () => {
    const [runs, stops] = [await started(), await started()];
    await worker.call("POST", `${pathOf(stops)}/stop`, {});
    expect(await worker.call("POST", "/v1/shutdown", { timeout_s: 20 })).toMatchObject({ left: [] });
    expect((await worker.call<MachineView>("GET", pathOf(runs))).state).toBe("stopped");
    expect(worker.processOf(runs.id)).toBeNull();
    expect(await codeOf(worker.call("POST", `${pathOf(runs)}/start`))).toBe("worker.shutting_down");
    await worker.kill("SIGTERM");
    await worker.start();
    expect((await worker.wait(runs.id, "started")).state).toBe("started");
    expect((await worker.call<MachineView>("GET", pathOf(stops))).state).toBe("stopped");
    await destroyed(runs, stops);
  }, 60_000);

  test("leaves its VMs running when asked to leave, and removes what nobody owns when it comes", async () => {
    const [kept, orphan] = [await started(), await started()];
    const before = worker.processOf(kept.id);
    await worker.kill("SIGTERM");
    worker.withDatabase((db) => {
      db.run("DELETE FROM machines WHERE id = ?", [orphan.id]);
      db.run("DELETE FROM links WHERE machine_id = ?", [orphan.id]);
    });
    expect(await worker.remains(orphan.id)).not.toEqual([]);
    const agent = await worker.start();
    expect(worker.processOf(kept.id)).toEqual(before);
    await worker.logged(agent, "removed what nobody owned");
    expect(await worker.remains(orphan.id)).toEqual([]);
    expect(await worker.links()).toHaveLength(1);
    await destroyed(kept);
  }, 60_000);

  test("is the only one: a second agent of the same host is refused", async () => {
    const second = worker.launch();
    expect(await second.exited).not.toBe(0);
    expect(second.log()).toContain("worker.already_running");
  }, 60_000);
});

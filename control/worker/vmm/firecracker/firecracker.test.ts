/**
 * The contract suite on the driver with a fake behind it (fake/), and what is Firecracker's own: all that can be shown where
 * no Firecracker boots. What a host with KVM must still confirm is in deploy/notes/0009-firecracker.md.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { driverContract, guestOf, Lines } from "../driver.contract.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import type { Vm, VmSpec } from "../driver.ts";
import { identify } from "../host-process.ts";
import { cgroupNames } from "../runc/cgroups.ts";
import { mountsBelow } from "../runc/rootfs.ts";
import { FirecrackerApi } from "./api-client.ts";
import { apiRequest } from "./api-types.ts";
import { damage } from "./damage.fixture.ts";
import { MEMORY_MARK } from "./fake/devices.fixture.ts";
import { installFake } from "./fake/install.fixture.ts";
import { FirecrackerDriver } from "./firecracker-driver.ts";
import { type FirecrackerPaths, firecrackerPaths } from "./firecracker-paths.ts";
import { versionObstacle } from "./firecracker-probe.ts";
import type { FirecrackerVm } from "./firecracker-vm.ts";
import { jailUserOf } from "./jail-user.ts";
import { IN_JAIL } from "./requests.ts";

const TEST_MS_MAX = 60_000;
const GUEST_WAIT_MS = 20_000;
const never = new AbortController().signal;

const DRIVE_B = {
  drive_id: "b",
  path_on_host: "/b",
  is_root_device: false,
  is_read_only: true,
  cache_type: "Unsafe",
  io_engine: "Sync",
};

const fake = installFake();
afterAll(() => fake.remove());
const pathsOf = (spec: VmSpec) => firecrackerPaths(spec, fake.programs.firecracker);
const makeLink = async (name: string) => void await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"]);

driverContract({
  name: "firecracker",
  make: (guest) => new FirecrackerDriver(guest, fake.programs),
  ownerInput: { programs: fake.programs },
  record: "firecracker.json",
  makeLink,
  damage: (spec) => damage(spec, fake.programs.firecracker),
});

describe("Firecracker", () => {
  let world: World;
  let driver: FirecrackerDriver;
  beforeAll(async () => {
    world = await makeWorld();
    driver = new FirecrackerDriver(world.guest, fake.programs);
  }, TEST_MS_MAX);
  afterAll(() => world.remove());

  const start = async (spec: VmSpec) => await driver.start(spec) as FirecrackerVm;
  const cleaned = async (spec: VmSpec) => {
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  };
  const failureOf = (done: Promise<unknown>) => done.then(() => null, (error) => error);
  const apiOf = async (spec: VmSpec) => (await FirecrackerApi.connect(pathsOf(spec).inJail("api")))!;

  test("probe() says why it is not usable: programs, kernel, version", async () => {
    const noteOf = async (guest: Partial<World["guest"]>, programs = fake.programs) =>
      (await new FirecrackerDriver({ ...world.guest, ...guest }, programs).probe()).note;
    expect(await noteOf({}, { jailer: "/nowhere/jailer", firecracker: "firecracker" })).toContain(
      "jailer is not installed",
    );
    expect(await noteOf({ vmlinux_file: "/nowhere/vmlinux" })).toContain("/nowhere/vmlinux is missing");
    expect(await noteOf({ vmlinux_file: world.guest.kernel_file })).toContain("no uncompressed ELF kernel");
    const old = installFake("1.16.0");
    expect(await noteOf({}, old.programs)).toContain("Firecracker 1.16.0 is not supported");
    await old.remove();
  });

  test("probe() says how far a guest came that did not boot, and leaves nothing", async () => {
    const jailer = join(world.folder, "no-jailer");
    writeFileSync(jailer, "#!/bin/sh\necho 'Kernel Loader: no such thing' >&2\nexit 3\n", { mode: 0o755 });
    const probe = await new FirecrackerDriver(world.guest, { ...fake.programs, jailer }).probe();
    expect(probe).toMatchObject({ usable: false, acceleration: "none" });
    expect(probe.note).toContain("Firecracker ended with status 3: Kernel Loader: no such thing");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("godwit-probe");
  });

  test("versionObstacle() takes what the API was checked against, and what only adds to it", () => {
    for (const version of ["1.16.1", "1.16.2", "1.17.0"]) {
      expect(versionObstacle(`Firecracker v${version}\n`)).toBeNull();
    }
    for (const version of ["1.15.9", "1.16.0", "2.0.0"]) {
      expect(versionObstacle(`Firecracker v${version}\n`)).toContain(version);
    }
    expect(versionObstacle("bash 5.2\n")).toContain("it calls itself");
  });

  test("Firecracker runs as the machine's own user, sees its jail alone, and owns the layer", async () => {
    const spec = await world.spec(["serve"]);
    const vm = await start(spec);
    const user = jailUserOf(spec.machineId);
    const ids = /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(readFileSync(`/proc/${vm.pid}/status`, "utf8"));
    expect(ids?.slice(1).map(Number)).toEqual([user, user, user, user]);
    expect(readlinkSync(`/proc/${vm.pid}/root`)).toBe(pathsOf(spec).root);
    expect(statSync(spec.layerFile)).toMatchObject({ uid: user, gid: user });
    // The others' files are nobody's to write, and the run configuration is nobody else's to read.
    await expect(failureOf(Bun.write(pathsOf(spec).inJail("image"), "x"))).resolves.toMatchObject({
      code: "EROFS",
    });
    expect(statSync(pathsOf(spec).inJail("config")).mode & 0o777).toBe(0o400);
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("stats(), metrics() and the log come from the process and its pipes", async () => {
    const spec = await world.spec(["serve"]);
    const vm = await start(spec);
    const stats = await vm.stats();
    expect(stats.cpuMs).toBeGreaterThan(0);
    expect(stats.residentBytes).toBeGreaterThan(1_000_000);
    const begun = Date.now();
    expect((await vm.metrics())?.utc_timestamp_ms).toBeGreaterThanOrEqual(begun);
    const api = await apiOf(spec);
    await failureOf(api.send(apiRequest("action", { action_type: "InstanceStart" })));
    api.close();
    expect(vm.output()).toContain("not supported after starting the microVM");
    expect(readFileSync(join(spec.folder, "firecracker.log"), "utf8")).toContain("Received Error");
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("start() says which tap it cannot use, and leaves nothing", async () => {
    const spec = await world.spec(["serve"], { link: { name: "gwtest/none", mac: "02:00:00:00:00:01" } });
    const error = await failureOf(driver.start(spec));
    expect(error?.code).toBe("vmm.start_failed");
    expect(error?.message).toContain("the tap gwtest/none is in use or gone");
    expect(error?.message).toContain("Open tap device failed");
    expect(await tracesOf(driver, spec)).toEqual([]);
  }, TEST_MS_MAX);

  test("start() says what the jailer said", async () => {
    const jailer = join(world.folder, "jailer");
    writeFileSync(jailer, "#!/bin/sh\necho 'Failed to join network namespace' >&2\nexit 1\n", {
      mode: 0o755,
    });
    const spec = await world.spec(["serve"]);
    const broken = new FirecrackerDriver(world.guest, { ...fake.programs, jailer });
    broken.probe = () => driver.probe();
    const error = await failureOf(broken.start(spec));
    expect(error?.code).toBe("vmm.start_failed");
    expect(error?.message).toContain("it ended at once: Failed to join network namespace");
    expect(await tracesOf(broken, spec)).toEqual([]);
  }, TEST_MS_MAX);

  test("a VM killed on the host says so", async () => {
    const spec = await world.spec(["serve"]);
    const vm = await start(spec);
    process.kill(vm.pid, "SIGKILL");
    expect((await vm.exited).reason).toContain("killed on the host (SIGKILL)");
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("rates are told when it starts, and taken by Firecracker", async () => {
    const rates = { diskIops: 500, diskBytesPerS: 8_388_608, networkBytesPerS: null };
    const spec = await world.spec(["exit", "0"], { rates });
    const vm = await start(spec);
    const guest = await guestOf(vm);
    expect(await guest.exit({ timeoutMs: GUEST_WAIT_MS })).toMatchObject({ exit_code: 0 });
    await guest.acknowledgeExit();
    expect(await vm.exited).toEqual({ vmmStatus: 0, reason: null });
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("memory that was saved lies nowhere in the clear, and the jail is gone", async () => {
    const spec = await world.spec(["count"]);
    const vm = await start(spec);
    await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
    await vm.suspend(never);
    expect(readdirSync(spec.runFolder)).toEqual(["memory.key"]);
    expect(statSync(pathsOf(spec).key).mode & 0o777).toBe(0o600);
    expect(cgroupNames()).not.toContain(pathsOf(spec).kernelName);
    const saved = readFileSync(pathsOf(spec).saved);
    expect(saved.length).toBeGreaterThan(16_000_000);
    expect(saved.length).toBeLessThan(40_000_000);
    expect(saved.includes(MEMORY_MARK)).toBe(false);
    // Once it goes on, no file of it is left either: what is mapped has lost its name.
    await driver.resume(spec);
    expect(readdirSync(pathsOf(spec).root)).not.toContain("memory");
    expect(existsSync(pathsOf(spec).saved)).toBe(false);
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("resume() does not believe memory beside another layer than it knows", async () => {
    const spec = await world.spec(["count"]);
    const vm = await start(spec);
    await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
    await vm.suspend(never);
    const { layerFile } = await world.spec(["count"]);
    const error = await failureOf(driver.resume({ ...spec, layerFile }));
    expect(error?.code).toBe("vmm.resume_failed");
    expect(error?.message).toContain("is not the file that its memory knows");
    expect(await tracesOf(driver, spec)).toEqual([]);
  }, TEST_MS_MAX);

  test(
    "adopt() lets a VM go on that was paused when its agent died, and drops what was saved of it",
    async () => {
      const spec = await world.spec(["count"]);
      const vm = await start(spec);
      await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
      vm.detach();
      const api = await apiOf(spec);
      await api.send(apiRequest("vm", { state: "Paused" }));
      api.close();
      // As a crash after the seal and before the kill would leave it.
      for (const file of [pathsOf(spec).key, pathsOf(spec).saved]) writeFileSync(file, "x");
      expect(driver.isSuspended(spec)).toBe(true);
      const adopted = (await driver.adopt(spec))!;
      expect(driver.isSuspended(spec)).toBe(false);
      expect((await (await guestOf(adopted)).status()).phase).toBe("running");
      await cleaned(spec);
    },
    TEST_MS_MAX,
  );

  /** What can be seen of a start, in its order; it is cut off as soon as one shows. */
  const STAGES: Record<string, (paths: FirecrackerPaths) => boolean> = {
    "jail mounted": ({ jail }) => mountsBelow(join(jail, "..")).includes(jail),
    "drives bound": ({ jail }) => mountsBelow(jail).length > 2,
    record: ({ record }) => existsSync(record),
    cgroup: ({ kernelName }) => cgroupNames().includes(kernelName),
    API: (paths) => existsSync(paths.inJail("api")),
    vsock: (paths) => existsSync(paths.inJail("vsock")),
  };

  async function cutOff(
    spec: VmSpec,
    reached: (paths: FirecrackerPaths) => boolean,
    ...what: string[]
  ): Promise<void> {
    const fixture = join(import.meta.dir, "../driver-owner.fixture.ts");
    const owner = Bun.spawn([process.execPath, fixture, "firecracker", ...what], {
      stdin: new Blob([JSON.stringify({ guest: world.guest, spec, programs: fake.programs })]),
      stdout: "ignore",
      stderr: "inherit",
    });
    while (!reached(pathsOf(spec))) {
      if (owner.exitCode !== null) throw new Error("it ended before the stage was seen");
      await Bun.sleep(1);
    }
    owner.kill("SIGKILL");
    await owner.exited;
  }

  test.each(Object.entries(STAGES))(
    "clean() leaves nothing of a start that was cut off, and start() begins anew: %s",
    async (_, reached) => {
      const spec = await world.spec(["serve"]);
      await cutOff(spec, reached);
      expect(await driver.list(spec.prefix)).toContain(spec.machineId);
      await cleaned(spec);
      const again = await world.spec(["serve"]);
      await cutOff(again, reached);
      const guest = await guestOf(await driver.start(again));
      expect((await guest.status({ waitMs: GUEST_WAIT_MS })).phase).toBe("running");
      await cleaned(again);
    },
    TEST_MS_MAX,
  );

  const count = async (vm: Vm, to: number) => {
    const guest = await guestOf(vm);
    const lines = new Lines(guest);
    await guest.signal("SIGHUP");
    await lines.until(`count ${to}`);
    guest.close();
  };
  const hasSize = (file: string) => existsSync(file) && statSync(file).size > 0;

  test("an agent that is killed while it suspends finds its VM running, or finds it saved", async () => {
    const spec = await world.spec(["count"]);
    const vm = await start(spec);
    await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
    await count(vm, 1);
    vm.detach();
    let counted = 1;
    const stages: ((paths: FirecrackerPaths) => boolean)[] = [
      (paths) => hasSize(paths.inJail("state")),
      (paths) => hasSize(paths.savedDraft) || existsSync(paths.saved),
      (paths) => existsSync(paths.key),
    ];
    for (const reached of stages) {
      await cutOff(spec, reached, "suspend");
      // What comes first after a crash is the look for what runs.
      const adopted = await driver.adopt(spec) ?? await driver.resume(spec);
      expect(driver.isSuspended(spec)).toBe(false);
      await count(adopted, ++counted);
      adopted.detach();
    }
    await cleaned(spec);
    expect(readdirSync(spec.folder).filter((name) => name.startsWith("memory"))).toEqual([]);
  }, TEST_MS_MAX);

  test(
    "an agent that is killed while it resumes finds its VM running, or its memory still there, or gone",
    async () => {
      const spec = await world.spec(["count"]);
      const vm = await start(spec);
      await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
      await count(vm, 1);
      let counted = 1;
      let running: Vm = vm;
      const before: ((paths: FirecrackerPaths) => boolean)[] = [
        ({ jail }) => mountsBelow(join(jail, "..")).includes(jail),
        (paths) => hasSize(paths.inJail("memory")) || existsSync(paths.inJail("api")),
        (paths) => existsSync(paths.inJail("api")),
      ];
      for (const reached of before) {
        await running.suspend(never);
        await cutOff(spec, reached, "resume");
        const found = await driver.adopt(spec);
        // Either it had come so far that the VM runs, or nothing of it was used up.
        if (found === null) expect(driver.isSuspended(spec)).toBe(true);
        running = found ?? await driver.resume(spec);
        expect(driver.isSuspended(spec)).toBe(false);
        await count(running, ++counted);
      }
      // Once it is used up and before it is loaded there is nothing to go back to.
      await running.suspend(never);
      await cutOff(spec, (paths) => existsSync(paths.inJail("api")) && !existsSync(paths.key), "resume");
      const found = await driver.adopt(spec);
      if (found === null) expect(driver.isSuspended(spec)).toBe(false);
      await cleaned(spec);
    },
    TEST_MS_MAX,
  );

  test("a Firecracker that hangs is adopted and killed like any other", async () => {
    const spec = await world.spec(["serve"]);
    const vm = await start(spec);
    process.kill(vm.pid, "SIGSTOP");
    vm.detach();
    rmSync(join(spec.runFolder, "firecracker.json"));
    const adopted = (await driver.adopt(spec))!;
    expect(adopted.pid).toBe(vm.pid);
    const error = await failureOf(adopted.suspend(AbortSignal.abort()));
    expect(error?.code).toBe("vmm.suspend_failed");
    await adopted.kill();
    expect(identify(vm.pid)).toBeNull();
    await cleaned(spec);
  }, TEST_MS_MAX);

  test("the fake speaks Firecracker's words where its states forbid something", async () => {
    const spec = await world.spec(["serve"]);
    const vm = await start(spec);
    const api = await apiOf(spec);
    const wordsOf = async (request: Parameters<typeof api.send>[0]) =>
      String((await failureOf(api.send(request)))?.message).replace(/^Firecracker refused \S+ \S+: /, "");
    const postBoot = "The requested operation is not supported after starting the microVM.";
    expect(await wordsOf(apiRequest("vsock", { guest_cid: 3, uds_path: "/other.sock" }))).toBe(postBoot);
    expect(await wordsOf(apiRequest("action", { action_type: "InstanceStart" }))).toBe(postBoot);
    const snapshot = { snapshot_path: IN_JAIL.state, mem_file_path: IN_JAIL.memory } as const;
    expect(await wordsOf(apiRequest("snapshotCreate", { snapshot_type: "Full", ...snapshot }))).toContain(
      "save/restore unavailable while running",
    );
    const raw = (method: "PUT", path: string, body: Record<string, unknown>) =>
      wordsOf({ method, path, definition: "", body });
    expect(await raw("PUT", "/nothing", {})).toBe("Invalid request method and/or path: PUT nothing.");
    expect(await raw("PUT", "/vsock", { guest_cid: "three" })).toStartWith(
      "An error occurred when deserializing the json body of a request: ",
    );
    expect(await raw("PUT", "/drives/a", DRIVE_B)).toContain(
      "does not match the id from the body",
    );
    api.close();
    await vm.kill();
    await cleaned(spec);
  }, TEST_MS_MAX);
});

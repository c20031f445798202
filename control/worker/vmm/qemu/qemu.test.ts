/** The contract suite on real QEMU, and what is QEMU's own: seven boots to the end, and two that are cut short. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Vm } from "../driver.ts";
import { driverContract, guestOf, Lines } from "../driver.contract.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import { argumentsOf } from "../host-process.ts";
import { Qmp } from "../qmp.ts";
import { qemuPaths } from "./qemu-paths.ts";
import { QemuDriver } from "./qemu-driver.ts";
import { probeBoot } from "./qemu-probe.ts";

const TEST_MS_MAX = 240_000;
const BOOT_MS_MAX = 90_000;

driverContract({
  name: "qemu",
  make: (guest) => new QemuDriver(guest),
  record: "qemu.json",
  makeLink: async (name) => void await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"]),
  damage: (spec) => damageFile(qemuPaths(spec).saved),
});

/** Changes one bit in the middle. */
function damageFile(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(file, bytes);
}

describe("QEMU", () => {
  let world: World;
  let driver: QemuDriver;
  beforeAll(async () => {
    world = await makeWorld();
    driver = new QemuDriver(world.guest);
  }, TEST_MS_MAX);
  afterAll(() => world.remove());

  test("probeBoot() hears the guest's word, so that a KVM that works is not missed", async () => {
    expect(await probeBoot(world.guest, "tcg", BOOT_MS_MAX)).toBeNull();
  }, TEST_MS_MAX);

  test("probeBoot() says why a guest did not boot", async () => {
    const files = { ...world.guest, kernel_file: "/etc/hostname" };
    expect(await probeBoot(files, "tcg", BOOT_MS_MAX)).toMatch(
      /^a probe guest did not boot: QEMU ended with status 1: /,
    );
  });

  test("probe() is not usable where the guest's kernel is missing", async () => {
    const probe = await new QemuDriver({ ...world.guest, kernel_file: "/nowhere/vmlinuz" }).probe();
    expect(probe).toMatchObject({ usable: false, acceleration: "none" });
    expect(probe.note).toContain("/nowhere/vmlinuz is missing");
  });

  test("start() boots on q35 from the second retry on", async () => {
    const spec = await world.spec(["exit", "0"], { attempt: 2 });
    const vm = await driver.start(spec);
    expect(argumentsOf(vm.pid)).toContain("q35");
    const guest = await guestOf(vm);
    expect(await guest.exit({ timeoutMs: BOOT_MS_MAX })).toMatchObject({ exit_code: 0 });
    await guest.acknowledgeExit();
    expect(await vm.exited).toEqual({ vmmStatus: 0, reason: null });
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  }, TEST_MS_MAX);

  test("a layer has one VM at a time, and a VM killed on the host says so", async () => {
    const first = await world.spec(["serve"]);
    const second = await world.spec(["serve"], { layerFile: first.layerFile });
    const vm = await driver.start(first);
    const error = await driver.start(second).then(() => null, (e) => e);
    expect(error?.code).toBe("vmm.start_failed");
    expect(error?.message).toContain(`${first.layerFile} is in use by another VM`);
    process.kill(vm.pid, "SIGKILL");
    expect((await vm.exited).reason).toContain("killed on the host (SIGKILL)");
    for (const spec of [first, second]) {
      await driver.clean(spec);
      expect(await tracesOf(driver, spec)).toEqual([]);
    }
  }, TEST_MS_MAX);

  test("QEMU holds the layer's rates", async () => {
    const rates = { diskIops: 2_000, diskBytesPerS: 8_388_608, networkBytesPerS: null };
    const spec = await world.spec(["serve"], { rates });
    const vm = await driver.start(spec);
    vm.detach();
    const qmp = (await Qmp.connect(qemuPaths(spec).qmp, { onEvent: () => {}, timeoutMs: 10_000 }))!;
    const drives = await qmp.execute("query-block") as {
      device: string;
      inserted: Record<string, unknown>;
    }[];
    const layer = drives.find((drive) => drive.device === "layer")?.inserted;
    expect(layer).toMatchObject({ iops: 2_000, bps: 8_388_608 });
    expect(drives.find((drive) => drive.device === "image")?.inserted).toMatchObject({ iops: 0, bps: 0 });
    qmp.close();
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  }, TEST_MS_MAX);

  test("start() says which tap it cannot use", async () => {
    const spec = await world.spec(["serve"], { link: { name: "gwtest/none", mac: "02:00:00:00:00:01" } });
    const error = await driver.start(spec).then(() => null, (e) => e);
    expect(error?.code).toBe("vmm.start_failed");
    expect(error?.message).toContain("the tap gwtest/none is in use or gone");
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  });

  test(
    "a VM goes on with its memory after an agent that was killed while it suspended or resumed it",
    async () => {
      const spec = await world.spec(["count"]);
      const paths = qemuPaths(spec);
      const vm = await driver.start(spec);
      let counted = 0;
      const countsOn = async (running: Vm) => {
        const guest = await guestOf(running);
        await guest.status({ waitMs: BOOT_MS_MAX });
        const lines = new Lines(guest);
        await lines.until("counting");
        await guest.signal("SIGHUP");
        await lines.until(`count ${++counted}`);
        guest.close();
      };
      await countsOn(vm);
      vm.detach();

      // Killed while the draft grows: the VM was paused, and what was saved of it so far is nothing.
      await killedWhen(
        "suspend",
        () => existsSync(paths.savedDraft) && statSync(paths.savedDraft).size > 1_000_000,
      );
      expect(driver.isSuspended(spec)).toBe(false);
      const first = (await driver.adopt(spec))!;
      expect(first.pid).toBe(vm.pid);
      await countsOn(first);
      expect(existsSync(paths.moving) || existsSync(paths.key)).toBe(false);

      // Killed while QEMU takes its memory: what is saved is still whole.
      await first.suspend(new AbortController().signal);
      await killedWhen("resume", () => existsSync(paths.memory));
      const adopted = await driver.adopt(spec);
      expect(adopted === null).toBe(driver.isSuspended(spec));
      await countsOn(adopted ?? await driver.resume(spec));
      await driver.clean(spec);
      expect(await tracesOf(driver, spec)).toEqual([]);

      async function killedWhen(what: string, isTime: () => boolean): Promise<void> {
        const owner = Bun.spawn(
          [process.execPath, join(import.meta.dir, "../driver-owner.fixture.ts"), "qemu", what],
          {
            stdin: new Blob([JSON.stringify({ guest: world.guest, spec })]),
            stdout: "ignore",
            stderr: "inherit",
          },
        );
        for (const begun = performance.now(); !isTime();) {
          if (performance.now() - begun > BOOT_MS_MAX) {
            throw new Error(`it never came to the middle of ${what}`);
          }
          await Bun.sleep(1);
        }
        owner.kill("SIGKILL");
        await owner.exited;
      }
    },
    TEST_MS_MAX,
  );
});

/** The contract suite on real QEMU, and what is QEMU's own: seven boots to the end, and two that are cut short. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { driverContract, guestOf } from "../driver.contract.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import { argumentsOf } from "../host-process.ts";
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

  test("start() says which tap it cannot use", async () => {
    const spec = await world.spec(["serve"], { link: { name: "gwtest/none", mac: "02:00:00:00:00:01" } });
    const error = await driver.start(spec).then(() => null, (e) => e);
    expect(error?.code).toBe("vmm.start_failed");
    expect(error?.message).toContain("the tap gwtest/none is in use or gone");
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  });
});

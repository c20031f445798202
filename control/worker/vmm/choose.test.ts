import { expect, test } from "bun:test";
import { chooseDriver } from "./choose.ts";

const guest = {
  kernel_file: "/nowhere/vmlinuz",
  initramfs_file: "/nowhere/initramfs.gz",
  init_drive_file: "/nowhere/init.erofs",
  init_folder: "/nowhere/init",
};

test("chooseDriver() takes containers only when asked for, and says loudly what they are", async () => {
  const { driver, probe } = await chooseDriver({ vmm: "runc", guest });
  expect(driver.name).toBe("runc");
  expect(probe.note).toContain("CONTAINERS, NOT VMs");
});

test("chooseDriver() refuses `auto` where no VM can run, and names the way out", async () => {
  const error = await chooseDriver({ vmm: "auto", guest }).then(() => null, (e) => e);
  expect(error?.code).toBe("vmm.not_usable");
  expect(error?.message).toContain("/nowhere/vmlinuz is missing");
  expect(error?.hint).toContain("--vmm runc");
});

test("chooseDriver() takes Firecracker only when asked for, and says what it lacks here", async () => {
  const error = await chooseDriver({ vmm: "firecracker", guest }).then(() => null, (e) => e);
  expect(error?.code).toBe("vmm.not_usable");
  expect(error?.message).toStartWith("Cannot run machines with firecracker: ");
  expect(error?.hint).toContain("on a host with KVM");
});

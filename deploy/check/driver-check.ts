/**
 * `bun run check --driver NAME`: the drivers' contract suite on one real driver of this host. What cannot run here is said
 * in words, and is no success.
 */
import { FirecrackerDriver } from "../../control/worker/vmm/firecracker/firecracker-driver.ts";
import { QemuDriver } from "../../control/worker/vmm/qemu/qemu-driver.ts";
import { RuncDriver } from "../../control/worker/vmm/runc/runc-driver.ts";
import type { VmmDriver, VmmName } from "../../control/worker/vmm/driver.ts";
import type { WorkerConfig } from "../../control/contract/process-config.ts";
import { testGuest } from "../images/testbed.ts";

interface Subject {
  readonly make: (guest: WorkerConfig["guest"]) => VmmDriver;
  readonly file: string;
}

const SUBJECTS: Record<VmmName, Subject> = {
  qemu: { make: (guest) => new QemuDriver(guest), file: "control/worker/vmm/qemu/qemu.test.ts" },
  runc: { make: (guest) => new RuncDriver(guest), file: "control/worker/vmm/runc/runc.test.ts" },
  firecracker: {
    make: (guest) => new FirecrackerDriver(guest),
    file: "control/worker/vmm/firecracker/firecracker.host.ts",
  },
};

export interface DriverCheck {
  /** Of the suite, from the repository's root. */
  readonly file: string | null;
  /** What the probe said, or why there is no suite to run. */
  readonly note: string;
}

export async function driverCheck(name: string): Promise<DriverCheck> {
  const subject = (SUBJECTS as Record<string, Subject | undefined>)[name];
  if (subject === undefined) {
    return { file: null, note: `there is no driver ${name}: one of ${Object.keys(SUBJECTS).join(", ")}` };
  }
  const files = await testGuest();
  const { usable, note } = await subject.make({
    kernel_file: files.kernelFile,
    vmlinux_file: files.vmlinuxFile,
    initramfs_file: files.initramfsFile,
    init_drive_file: files.initDriveFile,
    init_folder: files.initFolder,
  }).probe();
  return usable
    ? { file: subject.file, note: `${name}: ${note}` }
    : { file: null, note: `cannot check the driver ${name} on this host: ${note}` };
}

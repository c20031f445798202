/**
 * Picks the driver by WorkerConfig.vmm. `auto` means a VM or nothing: a container shares the host's kernel, so it is
 * never chosen silently for somebody who expected a VM. And it means QEMU: no guest has booted
 * on Firecracker's driver yet (deploy/notes/0009-firecracker.md), and what nobody saw run is nobody's default.
 */
import { GodwitError } from "../../contract/errors.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import type { VmmDriver, VmmName, VmmProbe } from "./driver.ts";
import { FirecrackerDriver } from "./firecracker/firecracker-driver.ts";
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { RuncDriver } from "./runc/runc-driver.ts";

export interface Choice {
  readonly driver: VmmDriver;
  readonly probe: VmmProbe;
}

/** @throws GodwitError `vmm.not_usable` where the wanted driver cannot work on this host. */
export async function chooseDriver(config: Pick<WorkerConfig, "vmm" | "guest">): Promise<Choice> {
  const driver = makeDriver(config.vmm === "auto" ? "qemu" : config.vmm, config.guest);
  const probe = await driver.probe();
  if (probe.usable) return { driver, probe };
  throw new GodwitError("vmm.not_usable", `Cannot run machines with ${driver.name}: ${probe.note}`, {
    fault: "us",
    hint: HINTS[driver.name],
  });
}

const HINTS: Record<VmmName, string> = {
  qemu: "install qemu-system-x86, or start with `--vmm runc` (containers: weaker isolation)",
  runc: "install runc, or start with `--vmm qemu`",
  firecracker: "install firecracker and jailer on a host with KVM, or start with `--vmm qemu`",
};

function makeDriver(name: VmmName, guest: WorkerConfig["guest"]): VmmDriver {
  switch (name) {
    case "qemu":
      return new QemuDriver(guest);
    case "runc":
      return new RuncDriver(guest);
    case "firecracker":
      return new FirecrackerDriver(guest);
  }
}

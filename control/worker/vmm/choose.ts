/**
 * Picks the driver by WorkerConfig.vmm. `auto` means a VM or nothing: a container shares the host's kernel, so it is
 * never chosen silently for somebody who expected a VM.
 */
import { GodwitError } from "../../contract/errors.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import type { VmmDriver, VmmProbe } from "./driver.ts";
import { QemuDriver } from "./qemu/qemu-driver.ts";
import { RuncDriver } from "./runc/runc-driver.ts";

export interface Choice {
  readonly driver: VmmDriver;
  readonly probe: VmmProbe;
}

/** @throws GodwitError `vmm.not_usable` where the wanted driver cannot work on this host. */
export async function chooseDriver(config: Pick<WorkerConfig, "vmm" | "guest">): Promise<Choice> {
  const driver: VmmDriver = config.vmm === "runc"
    ? new RuncDriver(config.guest)
    : new QemuDriver(config.guest);
  const probe = await driver.probe();
  if (probe.usable) return { driver, probe };
  throw new GodwitError("vmm.not_usable", `Cannot run machines with ${driver.name}: ${probe.note}`, {
    fault: "us",
    hint: config.vmm === "runc"
      ? "install runc, or start with `--vmm qemu`"
      : "install qemu-system-x86, or start with `--vmm runc` (containers: weaker isolation)",
  });
}

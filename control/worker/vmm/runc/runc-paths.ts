/** Names of one container on the host. All its files lie in the run folder; the rest carries the stack's prefix. */
import { join } from "node:path";
import type { VmSpec } from "../driver.ts";

export interface RuncPaths {
  /** runc's own state (`--root`), one for each machine, so that no machine's trouble touches another's. */
  readonly state: string;
  readonly bundle: string;
  readonly runConfig: string;
  readonly control: string;
  readonly controlSocket: string;
  readonly record: string;
  readonly pidFile: string;
  /** runc writes the pid file under this name first. */
  readonly pidFileBegun: string;
  /** Mount points. */
  readonly image: string;
  readonly layer: string;
  readonly rootfs: string;
  /** runc's words about the last start. */
  readonly log: string;
  /** Of the network namespace and of the cgroup in each hierarchy. */
  readonly kernelName: string;
}

export function runcPaths(spec: Pick<VmSpec, "machineId" | "folder" | "runFolder" | "prefix">): RuncPaths {
  const control = join(spec.runFolder, "control");
  return {
    state: join(spec.runFolder, "runc"),
    bundle: join(spec.runFolder, "bundle"),
    runConfig: join(spec.runFolder, "run.json"),
    control,
    controlSocket: join(control, "guest.sock"),
    record: join(spec.runFolder, "runc.json"),
    pidFile: join(spec.runFolder, "pid"),
    pidFileBegun: join(spec.runFolder, ".pid"),
    image: join(spec.runFolder, "image"),
    layer: join(spec.runFolder, "layer"),
    rootfs: join(spec.runFolder, "rootfs"),
    log: join(spec.folder, "runc.log"),
    kernelName: `${spec.prefix}-${spec.machineId}`,
  };
}

/** Step limits: open files, and a cgroup for the app where the machine is a VM. */
import type { RunConfig } from "../../control/contract/run-config.ts";
import { createAppCgroup, inAppCgroup } from "../child/cgroup.ts";
import { dropNetAdmin, limitOpenFiles } from "../system/process.ts";
import type { Mode } from "./run-config.ts";

/** Runs a start where the limits hold. */
export type Placed = <T>(work: () => T) => T;

export function setLimits(mode: Mode, limits: RunConfig["limits"]): Placed {
  limitOpenFiles(limits.nofile);
  if (mode === "container") {
    // Only vm-init needed it, for the network; the driver's cgroup holds the rest.
    dropNetAdmin();
    return (work) => work();
  }
  createAppCgroup();
  return inAppCgroup;
}

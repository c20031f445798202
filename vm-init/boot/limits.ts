/** Step limits: sysctls, limits of processes, and cgroups for the app and for commands where the machine is a VM. */
import { writeFileSync } from "node:fs";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { createCgroups, ExecCgroup, inAppCgroup } from "../child/cgroup.ts";
import { type CommandPlace, killSession } from "../child/session.ts";
import { BootError, messageOf } from "../system/error.ts";
import { dropNetAdmin, setLimit, withLimits } from "../system/process.ts";
import type { Mode } from "./run-config.ts";

/** Runs a start where the limits hold. */
export type Placed = <T>(work: () => T) => T;

export interface Places {
  readonly app: Placed;
  /** For one command of the worker's. */
  readonly command: () => CommandPlace;
}

/**
 * A core goes into the working folder, named by its process, where RLIMIT_CORE allows one (it is 0 unless asked for). A
 * kernel's own default would let the second crash overwrite the first one's.
 */
const CORE_PATTERN = { "kernel.core_pattern": "core.%p" };

export function setLimits(mode: Mode, config: Pick<RunConfig, "limits" | "sysctls">): Places {
  const { nofile, rlimits = [] } = config.limits;
  // A container's are set by its driver: it sees /proc/sys read-only.
  const sysctls: Record<string, string> = mode === "vm" ? { ...CORE_PATTERN, ...config.sysctls } : {};
  for (const [name, value] of Object.entries(sysctls)) setSysctl(name, value);
  setLimit({ name: "nofile", soft: nofile, hard: nofile });
  const limited: Placed = (work) => withLimits(rlimits, work);
  if (mode === "container") {
    // Only vm-init needed it, for the network; the driver's cgroup holds the rest.
    dropNetAdmin();
    return { app: limited, command: () => ({ start: limited, kill: killSession }) };
  }
  createCgroups();
  return {
    app: (work) => inAppCgroup(() => limited(work)),
    command: () => {
      const group = new ExecCgroup();
      return { start: (work) => group.start(() => limited(work)), kill: () => group.kill() };
    },
  };
}

function setSysctl(name: string, value: string): void {
  const file = sysctlFile(name);
  try {
    // Not made where it is missing: procfs would say EACCES, which is not the reason.
    writeFileSync(file, value, { flag: "r+" });
  } catch (error) {
    throw new BootError(`Cannot set the sysctl ${name} to ${value}: ${messageOf(error)}`);
  }
}

/** As sysctl(8): where the first separator is a dot, dots and slashes change places. */
export function sysctlFile(name: string): string {
  const isDotted = /^[^./]*\./.test(name);
  const path = isDotted ? name.replace(/[./]/g, (found) => found === "." ? "/" : ".") : name;
  return `/proc/sys/${path}`;
}

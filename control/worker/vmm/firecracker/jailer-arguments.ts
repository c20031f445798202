/**
 * The jailer's command line, as a pure function of what it must know (Firecracker: docs/jailer.md). Nothing secret may
 * appear here: every user of the host can read it.
 */
import type { VmSpec } from "../driver.ts";
import { IN_JAIL } from "./requests.ts";

const CPU_PERIOD_US = 100_000;
/** Firecracker holds about 30; a vsock connection takes one more. */
const OPEN_FILES_MAX = 2_048;

export interface JailerInput {
  /** `--id`, and the parent of the VM's cgroup. */
  readonly kernelName: string;
  readonly execFile: string;
  readonly jail: string;
  readonly user: number;
  /** 2 on a host with nothing else; the jailer takes 1 where it is not told. */
  readonly cgroupVersion: 1 | 2;
  readonly cpus: VmSpec["guest"]["cpus"];
  /** A network namespace's file, or null for the host's. */
  readonly netns: string | null;
  /** Firecracker's own arguments; the jailer adds `--id` and its start times. */
  readonly firecracker: readonly string[];
}

/**
 * Not `--daemonize`: that would send the guest's console to /dev/null and hide the process's end from its parent; the driver
 * starts it in a session of its own instead. Not `--new-pid-ns`: the pid is the one that was spawned.
 */
export function jailerArguments(input: JailerInput): string[] {
  return [
    ...["--id", input.kernelName],
    ...["--exec-file", input.execFile],
    ...["--uid", String(input.user), "--gid", String(input.user)],
    ...["--chroot-base-dir", input.jail],
    ...["--cgroup-version", String(input.cgroupVersion)],
    // The jailer makes PARENT/ID and removes neither; a parent of its own name lets the driver find and remove both.
    ...["--parent-cgroup", input.kernelName],
    ...cpuLimit(input).flatMap((value) => ["--cgroup", value]),
    ...["--resource-limit", `no-file=${OPEN_FILES_MAX}`],
    ...(input.netns === null ? [] : ["--netns", input.netns]),
    "--",
    ...input.firecracker,
  ];
}

/** Configured over its API, by requests.ts. */
export const WITH_API: readonly string[] = ["--api-sock", IN_JAIL.api];

/** As many CPUs as the guest has: its own threads beyond them are the VMM's. */
function cpuLimit({ cgroupVersion, cpus }: JailerInput): string[] {
  const quota = cpus * CPU_PERIOD_US;
  return cgroupVersion === 2
    ? [`cpu.max=${quota} ${CPU_PERIOD_US}`]
    : [`cpu.cfs_period_us=${CPU_PERIOD_US}`, `cpu.cfs_quota_us=${quota}`];
}

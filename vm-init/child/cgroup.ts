/**
 * The cgroups (v2) of a VM. In a container there is none of vm-init's own, only its driver's.
 *
 *     init        vm-init; stage 0 made it. The kernel does not take back what it needs (memory.min).
 *     user        what the app and commands have together
 *       app       the app, which meets its limit here before the guest runs dry
 *       exec/N    one command of the worker's and all that it started
 *
 * Commands have a little more than the app's share leaves, so that there is one into a machine whose app is at its limit.
 * All shares together are less than there is: who wants too much meets a limit, at which the kernel kills within a moment,
 * and not the end of all memory, before which it would first take everybody's code and read it again for a minute.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { codeOf } from "../system/error.ts";
import { kilobytesOf } from "../system/memory.ts";

const ROOT = "/sys/fs/cgroup";
const INIT = `${ROOT}/init`;
const USER = `${ROOT}/user`;
const EXEC = `${USER}/exec`;
export const APP_CGROUP = `${USER}/app`;
const OOM_SCORE = "/proc/self/oom_score_adj";
/** The kernel's highest: of all that could be killed for memory, a command is the first. */
const OOM_SCORE_EXEC = 1_000;

/** vm-init while it carries files: 11.5 MB anonymous, 7 MB of its code in use, 1.5 MB of the kernel's for it. */
export const INIT_KB = 21_504;
const APP_KB_MIN = 65_536;
/** Commands' own, above the app's share: a shell and its small programs. */
const EXEC_KB = 6_144;

/** Processes that the kernel and vm-init keep for themselves, and those that are commands' alone. */
const INIT_PIDS = 64;
const EXEC_PIDS = 64;
const APP_PIDS_MIN = 64;
const THREADS_MAX = "/proc/sys/kernel/threads-max";
const PID_MAX = "/proc/sys/kernel/pid_max";
const MIN_FREE_KB = "/proc/sys/vm/min_free_kbytes";
const MEMINFO = "/proc/meminfo";

/**
 * A limit for the app's memory that leaves vm-init alive and answering. To be asked before the app runs: what is neither
 * free nor vm-init's is the kernel's. Of that, what it calls reclaimable are mostly inodes of its own file systems, which
 * it keeps; the rest of it is room for what the kernel comes to need.
 *
 * @param minFreeKb below half more than this the kernel begins to take back (zoneinfo's `high`)
 */
export function appMemoryKb(meminfo: string, minFreeKb: number): number {
  const names = ["MemFree", "Buffers", "Cached", "AnonPages"];
  const ourKb = names.reduce((sum, name) => sum + (kilobytesOf(meminfo, name) ?? 0), 0);
  const keptKb = INIT_KB + EXEC_KB + Math.ceil(minFreeKb * 1.5);
  return Math.max(ourKb - keptKb, Math.min(ourKb, APP_KB_MIN));
}

/** Limits for the processes and threads of the app, and of app and commands together. */
export function pidLimits(threadsMax: number, pidMax: number): { app: number; user: number } {
  const app = Math.max(Math.min(threadsMax, pidMax) - INIT_PIDS - EXEC_PIDS, APP_PIDS_MIN);
  return { app, user: app + EXEC_PIDS };
}

export function createCgroups(): void {
  const pids = pidLimits(readNumber(THREADS_MAX), readNumber(PID_MAX));
  const appKb = appMemoryKb(readFileSync(MEMINFO, "utf8"), readNumber(MIN_FREE_KB));
  mkdirSync(APP_CGROUP, { recursive: true });
  writeFileSync(`${USER}/cgroup.subtree_control`, "+memory +pids");
  mkdirSync(EXEC);
  set(INIT, { "memory.min": INIT_KB * 1_024 });
  // What vm-init does not need goes first, then a command's page cache, then the app's.
  const userBytes = (appKb + EXEC_KB) * 1_024;
  set(USER, { "memory.max": userBytes, "memory.low": userBytes, "pids.max": pids.user });
  set(APP_CGROUP, { "memory.max": appKb * 1_024, "memory.low": appKb * 1_024, "pids.max": pids.app });
}

function set(folder: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) writeFileSync(`${folder}/${name}`, String(value));
}

function readNumber(file: string): number {
  return Number(readFileSync(file, "utf8"));
}

/** What `work` starts is in this cgroup from its first instruction, so no child of it can slip out. */
function inCgroup<T>(folder: string, work: () => T): T {
  writeFileSync(`${folder}/cgroup.procs`, "0");
  try {
    return work();
  } finally {
    writeFileSync(`${INIT}/cgroup.procs`, "0");
  }
}

export function inAppCgroup<T>(work: () => T): T {
  return inCgroup(APP_CGROUP, work);
}

/** One command's cgroup. */
export class ExecCgroup {
  static #made = 0;
  readonly #folder = `${EXEC}/${++ExecCgroup.#made}`;

  /** Made anew for this, and started into in the same turn. */
  start<T>(work: () => T): T {
    sweep();
    mkdirSync(this.#folder);
    return inCgroup(this.#folder, () => {
      writeFileSync(OOM_SCORE, String(OOM_SCORE_EXEC));
      try {
        return work();
      } finally {
        writeFileSync(OOM_SCORE, "0");
      }
    });
  }

  /** All that is in it, whatever session it has made its own. */
  kill(): void {
    try {
      writeFileSync(`${this.#folder}/cgroup.kill`, "1", { flag: "r+" });
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error; // Swept: all had ended.
    }
  }
}

/** Removes those of commands of which nothing runs any more. A command may leave something in the background. */
function sweep(): void {
  for (const { name } of readdirSync(EXEC, { withFileTypes: true }).filter((one) => one.isDirectory())) {
    try {
      rmdirSync(`${EXEC}/${name}`);
    } catch (error) {
      if (codeOf(error) !== "EBUSY") throw error;
    }
  }
}

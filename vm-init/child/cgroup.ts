/**
 * The user's cgroup, by which an OOM kill is told from any other SIGKILL. In a VM it is vm-init's own (v2), and its
 * memory.max makes the kernel choose among the app's processes before the machine as a whole runs dry. In a container
 * it is the container's, v1 or v2, as far as the driver shows it.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { initMemory, memoryAvailableKb } from "../system/memory.ts";

const ROOT = "/sys/fs/cgroup";
const APP = `${ROOT}/app`;
/** Of what is available before the app starts, the kernel and vm-init keep this. */
const RESERVE_KB = 16_384;
const APP_KB_MIN = 65_536;

const OOM_FILES = [`${APP}/memory.events`, `${ROOT}/memory.events`, `${ROOT}/memory/memory.oom_control`];
/** Processes that the kernel, vm-init and what it runs for its worker keep for themselves. */
const RESERVE_PIDS = 128;
const APP_PIDS_MIN = 64;
const THREADS_MAX = "/proc/sys/kernel/threads-max";
const PID_MAX = "/proc/sys/kernel/pid_max";

/**
 * A limit for the app's memory that leaves vm-init alive and answering. The kernel counts vm-init's own code as available,
 * because it can be read from its drive again; an app that took it would have the guest read it again all the time
 * instead of meeting its limit, so it is kept back too.
 *
 * @param initCodeKb what vm-init has of its files in memory
 */
export function appMemoryBytes(availableKb: number, initCodeKb: number): number {
  return Math.max(availableKb - initCodeKb - RESERVE_KB, Math.min(availableKb, APP_KB_MIN)) * 1_024;
}

export function createAppCgroup(): void {
  writeFileSync(`${ROOT}/cgroup.subtree_control`, "+memory +pids");
  mkdirSync(APP, { recursive: true });
  const availableKb = memoryAvailableKb();
  if (availableKb === null) return;
  const { rssKb, rssAnonKb } = initMemory();
  writeFileSync(`${APP}/memory.max`, String(appMemoryBytes(availableKb, rssKb - rssAnonKb)));
  writeFileSync(`${APP}/pids.max`, String(appPidsMax(readNumber(THREADS_MAX), readNumber(PID_MAX))));
}

/** A limit for the app's processes and threads that leaves vm-init able to start some of its own. */
export function appPidsMax(threadsMax: number, pidMax: number): number {
  return Math.max(Math.min(threadsMax, pidMax) - RESERVE_PIDS, APP_PIDS_MIN);
}

function readNumber(file: string): number {
  return Number(readFileSync(file, "utf8"));
}

/** What `work` starts is in the app's cgroup from its first instruction, so no child of it can slip out. */
export function inAppCgroup<T>(work: () => T): T {
  writeFileSync(`${APP}/cgroup.procs`, "0");
  try {
    return work();
  } finally {
    writeFileSync(`${ROOT}/cgroup.procs`, "0");
  }
}

export interface OomCounts {
  /** Processes of the app that the kernel killed for memory. */
  readonly kills: number;
  /** How often the app had met its own limit; null where the cgroup does not tell (v1). */
  readonly limitMet: number | null;
}

/** The numbers of memory.events (v2) or memory.oom_control (v1); null where the text is neither. */
export function oomCountsOf(text: string): OomCounts | null {
  const numberOf = (name: string) => {
    const match = new RegExp(`^${name} (\\d+)$`, "m").exec(text);
    return match === null ? null : Number(match[1]);
  };
  const kills = numberOf("oom_kill");
  return kills === null ? null : { kills, limitMet: numberOf("oom") };
}

/** So far; none where nothing readable tells. */
export function countOoms(): OomCounts {
  for (const file of OOM_FILES) {
    try {
      const counts = oomCountsOf(readFileSync(file, "utf8"));
      if (counts !== null) return counts;
    } catch {
      // This file belongs to another cgroup version or is not shown to the container: the next one is tried.
    }
  }
  return { kills: 0, limitMet: null };
}

/** What came since: kills, and whose memory had run out. A kill at no limit of the app's is the whole machine's. */
export function oomSince(before: OomCounts, now: OomCounts = countOoms()): Oom {
  const kills = now.kills - before.kills;
  if (kills <= 0 || now.limitMet === null) return { kills, scope: null };
  return { kills, scope: now.limitMet > (before.limitMet ?? 0) ? "app" : "machine" };
}

export interface Oom {
  readonly kills: number;
  readonly scope: "app" | "machine" | null;
}

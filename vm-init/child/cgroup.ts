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

/** The count that a line `oom_kill N` holds (memory.events of v2, memory.oom_control of v1), or null. */
export function oomKillsOf(text: string): number | null {
  const match = /^oom_kill (\d+)$/m.exec(text);
  return match === null ? null : Number(match[1]);
}

/** OOM kills so far; 0 where nothing readable tells them. */
export function countOomKills(): number {
  for (const file of OOM_FILES) {
    try {
      const kills = oomKillsOf(readFileSync(file, "utf8"));
      if (kills !== null) return kills;
    } catch {
      // This file belongs to another cgroup version or is not shown to the container: the next one is tried.
    }
  }
  return 0;
}

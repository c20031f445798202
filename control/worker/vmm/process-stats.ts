/** CPU time and memory of a process, by proc(5). */
import { readdirSync, readFileSync } from "node:fs";
import type { VmStats } from "./driver.ts";

const PAGE_BYTES = 4_096;
/** USER_HZ is 100 on every Linux that Bun runs on (time(7)). */
const TICK_MS = 10;
const NS_PER_MS = 1_000_000;

/** Zeros where the process is gone: its end is told elsewhere. */
export function processStats(pid: number): VmStats {
  return { cpuMs: cpuTimeMs(pid), residentBytes: residentBytes(pid) };
}

function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1] ?? 0) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

/** User and system time of a process, all its threads; 0 where it is gone (proc(5), /proc/PID/stat fields 14 and 15). */
export function cpuTimeMs(pid: number): number {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return 0; // gone: whoever waits hears of that from the VM itself
  }
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/**
 * Of the thread that wanted a processor longest: for how long it had one, and waited for one. Null where the process is
 * gone or the kernel does not tell (/proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst).
 */
export function wantedMs(pid: number): number | null {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
      const [ran, waited] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
      return (Number(ran) + Number(waited)) / NS_PER_MS;
    });
    const most = Math.max(0, ...threads);
    return most === 0 ? null : most;
  } catch {
    return null;
  }
}

/**
 * What a program's processes have used: CPU time and resident memory of a process and all its descendants, from
 * /proc/PID/stat (proc(5)). Requests per second hide a proxy's cost where client, proxy and backend share the cores; CPU
 * time per request does not.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessUsage {
  /** User and system time since the processes' starts. */
  readonly cpuMs: number;
  /** The same of their children that have ended, with those' own. */
  readonly endedCpuMs: number;
  readonly rssKb: number;
}

/** USER_HZ, which is 100 on every Linux that Godwit runs on. */
const TICKS_PER_S = 100;
const PAGE_KB = 4;

interface Stat {
  readonly parent: number;
  readonly ticks: number;
  readonly endedTicks: number;
  readonly pages: number;
}

export function usageOf(pid: number): ProcessUsage {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      stats.set(Number(name), parseStat(readFileSync(`/proc/${name}/stat`, "utf8")));
    } catch {
      continue; // gone since the folder was read
    }
  }
  let ticks = 0;
  let endedTicks = 0;
  let pages = 0;
  for (const member of familyOf(pid, stats)) {
    ticks += stats.get(member)!.ticks;
    endedTicks += stats.get(member)!.endedTicks;
    pages += stats.get(member)!.pages;
  }
  return {
    cpuMs: ticks * 1_000 / TICKS_PER_S,
    endedCpuMs: endedTicks * 1_000 / TICKS_PER_S,
    rssKb: pages * PAGE_KB,
  };
}

/** Without its descendants. */
export function ownCpuMsOf(pid: number): number {
  return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8")).ticks * 1_000 / TICKS_PER_S;
}

/** The second field, a name in parentheses, may hold spaces and parentheses itself. */
export function parseStat(stat: string): Stat {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
  return {
    parent: fields[1]!,
    ticks: fields[11]! + fields[12]!,
    endedTicks: fields[13]! + fields[14]!,
    pages: fields[21]!,
  };
}

function familyOf(pid: number, stats: ReadonlyMap<number, Stat>): number[] {
  const family = stats.has(pid) ? [pid] : [];
  for (const member of family) {
    for (const [child, { parent }] of stats) if (parent === member) family.push(child);
  }
  return family;
}

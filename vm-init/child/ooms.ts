/**
 * By the app's cgroup an OOM kill is told from any other SIGKILL. In a VM it is vm-init's own (v2); in a container it is
 * the container's, v1 or v2, as far as the driver shows it.
 */
import { readFileSync } from "node:fs";
import { APP_CGROUP } from "./cgroup.ts";

const ROOT = "/sys/fs/cgroup";
const OOM_FILES = [
  `${APP_CGROUP}/memory.events`,
  `${ROOT}/memory.events`,
  `${ROOT}/memory/memory.oom_control`,
];

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

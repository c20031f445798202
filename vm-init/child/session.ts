/**
 * A command and all that it started, found by the session that it leads: an interactive shell gives each job a process
 * group of its own, so that a group would be too little, and cgroups cannot be written in a container.
 */
import { readdirSync, readFileSync } from "node:fs";
import { kill } from "../system/process.ts";

const SIGHUP = 1;
const SIGKILL = 9;
/** As long as a shell may take to save its history. */
const HANGUP_WAIT_MS = 1_000;
/** A process that forks while it is looked for is met in the next round. */
const ROUNDS_MAX = 5;

/** The session's id in a line of /proc/PID/stat, whose second field, the name, may hold anything. */
export function sessionIn(stat: string): number | null {
  const session = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
  return Number.isInteger(session) ? session : null;
}

/** Hangs up, as a terminal that is closed does, then kills what is left. */
export async function endSession(leader: number): Promise<void> {
  if (signalSession(leader, SIGHUP) === 0) return;
  await Bun.sleep(HANGUP_WAIT_MS);
  killSession(leader);
}

export function killSession(leader: number): void {
  for (let round = 0; round < ROUNDS_MAX && signalSession(leader, SIGKILL) > 0; round++);
}

/** How many got it. */
function signalSession(leader: number, signal: number): number {
  let count = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (sessionOf(pid) === leader && kill(Number(pid), signal)) count++;
  }
  return count;
}

function sessionOf(pid: string): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const isZombie = stat[stat.lastIndexOf(")") + 2] === "Z";
    return isZombie ? null : sessionIn(stat);
  } catch {
    return null; // It ended meanwhile.
  }
}

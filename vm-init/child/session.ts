/**
 * A command and all that it started: what is in its cgroup, or in a container, where cgroups cannot be written, what is
 * in the session that it leads. (An interactive shell gives each job a process group of its own: that would be too little.)
 */
import { readdirSync, readFileSync } from "node:fs";
import { kill } from "../system/process.ts";

const SIGHUP = 1;
const SIGKILL = 9;
/** As long as a shell may take to save its history. */
const HANGUP_WAIT_MS = 1_000;
/** A process that forks while it is looked for is met in the next round. */
const ROUNDS_MAX = 5;

export interface CommandPlace {
  /** Runs the command's start where its limits hold. */
  start<T>(work: () => T): T;
  /** Kills all of it; `leader` is the command's own process. */
  kill(leader: number): void;
}

/** The session's id in a line of /proc/PID/stat, whose second field, the name, may hold anything. */
export function sessionIn(stat: string): number | null {
  const session = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
  return Number.isInteger(session) ? session : null;
}

/** Hangs up, as a terminal that is closed does, then kills what is left. */
export async function hangUp(leader: number, place: CommandPlace): Promise<void> {
  if (signalSession(leader, SIGHUP) > 0) await Bun.sleep(HANGUP_WAIT_MS);
  place.kill(leader);
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

/** What runs inside the machine: /proc/PID of each process (proc(5)), with the sockets that it listens on. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import type { GuestProcess, GuestProcesses } from "../../control/contract/guest-api.ts";
import { PROCESSES_MAX } from "../../control/contract/guest-limits.ts";
import { parsePasswd } from "../child/user.ts";
import { listListeners } from "./listeners.ts";

/** USER_HZ, which Linux shows to programs on every architecture of ours. */
const TICKS_PER_S = 100;
const COMMAND_CHARS_MAX = 256;
const SOCKETS_MAX = 64;
const PAGE_KB = 4;

export interface ProcessLine {
  readonly name: string;
  readonly state: string;
  readonly ppid: number;
  readonly cpuMs: number;
  readonly startedS: number;
  readonly rssKb: number;
}

/** A line of /proc/PID/stat; the name, in parentheses, may hold anything. */
export function parseStat(stat: string): ProcessLine | null {
  const end = stat.lastIndexOf(")");
  const fields = stat.slice(end + 2).trim().split(" ");
  if (end === -1 || fields.length < 22) return null;
  const at = (number: number) => Number(fields[number - 3]);
  return {
    name: stat.slice(stat.indexOf("(") + 1, end),
    state: fields[0]!,
    ppid: at(4),
    cpuMs: (at(14) + at(15)) * (1_000 / TICKS_PER_S),
    startedS: at(22) / TICKS_PER_S,
    rssKb: at(24) * PAGE_KB,
  };
}

export function listProcesses(): GuestProcesses {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).sort((a, b) => a - b);
  const names = new Map(parsePasswd(readOr("/etc/passwd")).map(({ uid, name }) => [uid, name]));
  const { listeners } = listListeners();
  const processes = pids.slice(0, PROCESSES_MAX).flatMap((pid): GuestProcess[] => {
    const line = parseStat(readOr(`/proc/${pid}/stat`));
    const uid = ownerOf(pid);
    if (line === null || uid === null) return [];
    const command = readOr(`/proc/${pid}/cmdline`).split("\0").join(" ").trim();
    return [{
      pid,
      ppid: line.ppid,
      user: (names.get(uid) ?? String(uid)).slice(0, 64),
      state: line.state,
      // The kernel's own threads have no command line.
      command: (command === "" ? `[${line.name}]` : command).slice(0, COMMAND_CHARS_MAX),
      cpu_ms: Math.round(line.cpuMs),
      rss_kb: line.rssKb,
      started_s: line.startedS,
      listen_sockets: listeners.filter((one) => one.pid === pid).slice(0, SOCKETS_MAX)
        .map(({ address, port }) => ({ protocol: "tcp", address, port })),
    }];
  });
  return { processes, left_out: Math.max(0, pids.length - PROCESSES_MAX) };
}

function ownerOf(pid: number): number | null {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? null;
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // It ended meanwhile, or the image has no such file.
  }
}

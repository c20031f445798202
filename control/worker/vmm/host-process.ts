/**
 * Names a process so that the name stays true: a pid alone is handed out again, a pid with its start time is not. Read
 * from /proc (proc(5)), because a VM that outlived its agent is no child of the next one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { GodwitError } from "../../contract/errors.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the host's boot. */
  readonly start_time: string;
}

const GONE_POLL_MS = 10;
const KILL_WAIT_MS_MAX = 10_000;

/**
 * Null where the process is gone; a zombie counts as gone, since all it held is freed. One whose first thread has ended and
 * others have not is none: it still holds its files, a VM its tap.
 */
export function identify(pid: number): ProcessIdentity | null {
  const stat = readProc(pid, "stat");
  if (stat === null) return null;
  // The command name stands in parentheses and may hold spaces and parentheses itself: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const startTime = fields[19];
  const threads = Number(fields[17]);
  if (startTime === undefined || (fields[0] === "Z" && threads <= 1) || fields[0] === "X") return null;
  return { pid, start_time: startTime };
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.start_time === process.start_time;
}

/** The arguments, empty where the process is gone or a kernel thread. */
export function argumentsOf(pid: number): string[] {
  const text = readProc(pid, "cmdline");
  return text === null || text === "" ? [] : text.replace(/\0$/, "").split("\0");
}

export function allPids(): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}

/** SIGKILL, and wait until it is gone. Does nothing where it is gone or its pid belongs to another by now. */
export async function killAndWait(process_: ProcessIdentity): Promise<void> {
  if (!isAlive(process_)) return;
  try {
    process.kill(process_.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
  for (let waited = 0; isAlive(process_); waited += GONE_POLL_MS) {
    if (waited > KILL_WAIT_MS_MAX) {
      throw new GodwitError(
        "vmm.kill_failed",
        `Process ${process_.pid} did not end within ${KILL_WAIT_MS_MAX} ms of SIGKILL`,
        {
          fault: "us",
          retryable: true,
          hint: "it hangs in the kernel, most often on a disk: see /proc/PID/stack and dmesg",
        },
      );
    }
    await delay(GONE_POLL_MS);
  }
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return null;
    throw error;
  }
}

/** How the user's process ended, in the numbers that shells and container runtimes use. */
import type { GuestExit } from "../../control/contract/guest-api.ts";
import { assert } from "../system/error.ts";
import { signalNumber } from "../system/process.ts";

const KILLED_STATUS = 128 + 9;

/** What `Bun.spawn` knows about an ended process; just one of the two is set. */
export interface Ended {
  readonly exitCode: number | null;
  /** A number where it has no name (real-time signals). */
  readonly signal: string | number | null;
}

/**
 * `oomKills`: processes that the kernel killed for memory meanwhile. The end counts as an OOM kill only where the
 * process itself was killed, or passed on that status of a child (a shell does).
 */
export function exitOf({ exitCode, signal }: Ended, oomKills: number, atMs: number): GuestExit {
  const number = typeof signal === "string" ? signalNumber(signal) : signal;
  assert(
    exitCode !== null || number !== null,
    `a process ended with neither status nor known signal (${signal})`,
  );
  const code = number === null ? (exitCode ?? 0) & 0xff : 128 + number;
  const name = typeof signal === "number" ? `SIG${signal}` : signal;
  return { exit_code: code, signal: name, oom_killed: oomKills > 0 && code === KILLED_STATUS, at_ms: atMs };
}

/** One line for people, in the machine's log. */
export function describeExit({ exit_code, signal, oom_killed }: GuestExit): string {
  if (oom_killed) return `process was killed for memory (status ${exit_code})`;
  return signal === null ? `process ended with status ${exit_code}` : `process was ended by ${signal}`;
}

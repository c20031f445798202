/** How the user's process ended, in the numbers that shells and container runtimes use. */
import type { GuestExit } from "../../control/contract/guest-api.ts";
import type { Oom } from "./ooms.ts";
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
 * `oom`: what the kernel killed for memory meanwhile. The end counts as an OOM kill only where the
 * process itself was killed, or passed on that status of a child (a shell does).
 */
export function exitOf({ exitCode, signal }: Ended, oom: Oom, atMs: number): Omit<GuestExit, "run"> {
  const number = typeof signal === "string" ? signalNumber(signal) : signal;
  assert(
    exitCode !== null || number !== null,
    `a process ended with neither status nor known signal (${signal})`,
  );
  const code = number === null ? (exitCode ?? 0) & 0xff : 128 + number;
  const name = typeof signal === "number" ? `SIG${signal}` : signal;
  const isOom = oom.kills > 0 && code === KILLED_STATUS;
  return {
    exit_code: code,
    signal: name,
    oom_killed: isOom,
    oom_scope: isOom ? oom.scope : null,
    at_ms: atMs,
  };
}

/** One line for people, in the machine's log. */
export function describeExit({ exit_code, signal, oom_killed, oom_scope }: GuestExit): string {
  if (oom_killed) {
    const whose = oom_scope === "machine" ? "; the machine's memory had run out, not the app's share" : "";
    return `process was killed for memory (status ${exit_code})${whose}`;
  }
  return signal === null ? `process ended with status ${exit_code}` : `process was ended by ${signal}`;
}

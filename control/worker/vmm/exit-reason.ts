/** Why a VM ended, in words, from what is left of it. Null where nothing speaks of a failure. */
import { BOOT_FAILURE_MARK } from "../../contract/guest-api.ts";

const REASON_CHARS_MAX = 1_024;
const STATUS_SIGKILL = 128 + 9;
const KERNEL_PANIC_MARK = "Kernel panic - not syncing:";

export interface Remains {
  /** Of this boot alone. */
  readonly console: string;
  /** Of the VMM's process, where it is known. */
  readonly vmmStatus: number | null;
  /** What the VMM itself wrote. */
  readonly vmmOutput: string;
  /** QMP: `reason` of SHUTDOWN, or `GUEST_PANICKED`. */
  readonly event: string | null;
}

/** A step that failed names itself; then the kernel; then the VMM. A reboot asked for by the guest is its normal end. */
export function exitReason(remains: Remains): string | null {
  const reason = markedLine(remains.console, BOOT_FAILURE_MARK) ??
    prefixed("The guest's kernel panicked: ", markedLine(remains.console, KERNEL_PANIC_MARK)) ??
    (remains.event === "GUEST_PANICKED" ? "The guest's kernel panicked" : null) ??
    vmmFailure(remains) ??
    (remains.event === "host-signal" ? "The VMM was ended by a signal on the host" : null);
  return reason?.slice(0, REASON_CHARS_MAX) ?? null;
}

function vmmFailure({ vmmStatus, vmmOutput }: Remains): string | null {
  if (vmmStatus === null || vmmStatus === 0) return null;
  if (vmmStatus === STATUS_SIGKILL) {
    return "The VMM was killed on the host (SIGKILL); if nobody did it, the host ran out of memory: see dmesg";
  }
  return `The VMM ended with status ${vmmStatus}: ${lastLines(vmmOutput)}`;
}

/** The last lines of a program's output, as one line. */
export function lastLines(output: string): string {
  const lines = output.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.slice(-3).join("; ").slice(-REASON_CHARS_MAX) || "it said nothing";
}

function markedLine(text: string, mark: string): string | null {
  const at = text.lastIndexOf(mark);
  if (at === -1) return null;
  return text.slice(at + mark.length).split(/\r?\n/, 1)[0]?.trim() ?? null;
}

function prefixed(prefix: string, text: string | null): string | null {
  return text === null ? null : prefix + text;
}

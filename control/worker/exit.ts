/** How a machine ended: by the guest's word where there is one, and in words for its log. */
import type { GuestExit } from "../contract/guest-api.ts";
import type { MachineExit } from "../contract/machine.ts";

const REASON_CHARS_MAX = 2_048;

export function exitOf(
  told: GuestExit | null,
  { requested, reason }: Pick<MachineExit, "requested" | "reason">,
  nowMs: number,
): MachineExit {
  return {
    exit_code: told?.exit_code ?? null,
    signal: told?.signal ?? null,
    oom_killed: told?.oom_killed ?? false,
    ...(told?.oom_scope === "machine" ? { oom_scope: told.oom_scope } : {}),
    requested,
    reason: reason === null ? null : reason.slice(0, REASON_CHARS_MAX),
    at_ms: told?.at_ms ?? nowMs,
  };
}

/** What the machine's log says of its end. */
export function sentenceOf(exit: MachineExit): string {
  if (exit.oom_killed) {
    return exit.oom_scope === "machine"
      ? "killed: memory ran out outside of the app's share, which its host may have caused"
      : "killed: the machine ran out of memory; give it a larger size";
  }
  if (exit.signal !== null) return `ended by signal ${exit.signal}${exit.requested ? " as asked" : ""}`;
  if (exit.exit_code !== null) {
    return `exited with code ${exit.exit_code}${exit.requested ? " as asked" : ""}`;
  }
  return `ended: ${exit.reason ?? "it is not known how"}`;
}

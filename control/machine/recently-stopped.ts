/** Whether a machine that rests was stopped on request, by an edge or a person, so short a while ago that it stays stopped. */
import type { MachineView } from "../contract/machine.ts";
import { RECENTLY_STOPPED_MS } from "../contract/worker-edge-api.ts";

/** @param nowMs wall clock; the guest told when it ended, and its clock may be ahead */
export function recentlyStopped(
  { state, last_exit: exit, updated_at_ms }: Pick<MachineView, "state" | "last_exit" | "updated_at_ms">,
  nowMs: number,
): boolean {
  if (state === "stopping" || state === "suspending") return true;
  // Nothing falls asleep by itself, and a suspended machine has no exit of its own.
  if (state === "suspended") return nowMs - updated_at_ms < RECENTLY_STOPPED_MS;
  if (state !== "stopped") return false;
  return exit !== null && exit.requested && Math.abs(nowMs - exit.at_ms) < RECENTLY_STOPPED_MS;
}

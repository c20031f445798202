/** Which states a machine may come to by itself: what a waiter can still hope for without a new request. */
import type { MachineState } from "../contract/machine.ts";
import { type Told, transition } from "./transition.ts";

const TOLD: readonly Told[] = [
  "booted",
  "boot_failed",
  "exited",
  "stopped",
  "stop_failed",
  "suspended",
  "suspend_failed",
  "destroyed",
];

/** `state` itself and all states that told events alone lead to from it. */
export function reachable(state: MachineState): ReadonlySet<MachineState> {
  const found = new Set<MachineState>([state]);
  // A Set iterates over what is added meanwhile, so this is the whole closure.
  for (const from of found) {
    for (const event of TOLD) {
      const next = transition(from, event);
      if (next.kind === "move") found.add(next.to);
    }
  }
  return found;
}

/** True once waiting for one of `wanted` makes no more sense: it is there, or nothing will bring it. */
export function isSettledFor(state: MachineState, wanted: ReadonlySet<MachineState>): boolean {
  if (wanted.has(state)) return true;
  const coming = reachable(state);
  for (const goal of wanted) if (coming.has(goal)) return false;
  return true;
}

/**
 * The states of a machine and what moves it between them. One function says what an event does in a state: nothing else
 * in Godwit changes a machine's state. It is pure, so that the worker, the API and a simulation agree.
 *
 * Asked events come from outside (an API call) and may be refused; told events report what has happened and never are:
 * a late one ("exited" of a machine that is being destroyed) changes nothing.
 */
import type { MachineState } from "../contract/machine.ts";

/** What a caller may ask for. */
export type Asked = "start" | "stop" | "suspend" | "destroy";
/** What the worker has seen. `exited`: the VM ended unasked; `stopped`: nothing of the VM is left on the host;
 * `suspend_failed`: it runs on. */
export type Told =
  | "booted"
  | "boot_failed"
  | "exited"
  | "stopped"
  | "stop_failed"
  | "suspended"
  | "suspend_failed"
  | "destroyed";
export type MachineEvent = Asked | Told;

export type Transition =
  | { readonly kind: "move"; readonly to: MachineState }
  /** Already so, or no longer of interest. */
  | { readonly kind: "stay" }
  | { readonly kind: "refuse"; readonly code: RefusalCode; readonly retryable: boolean };

export type RefusalCode = "machine.busy" | "machine.not_started" | "machine.destroyed";

const stay: Transition = { kind: "stay" };
const to = (state: MachineState): Transition => ({ kind: "move", to: state });
/** The machine is on its way to a state where the same request will be taken. */
const busy: Transition = { kind: "refuse", code: "machine.busy", retryable: true };
const notStarted: Transition = { kind: "refuse", code: "machine.not_started", retryable: false };
const gone: Transition = { kind: "refuse", code: "machine.destroyed", retryable: false };

type Row = { readonly [E in Asked]: Transition } & { readonly [E in Told]?: Transition };

/** Told events that a row does not name change nothing there. */
const TABLE: { readonly [S in MachineState]: Row } = {
  created: { start: to("starting"), stop: stay, suspend: notStarted, destroy: to("destroying") },
  starting: {
    start: stay,
    stop: to("stopping"),
    suspend: busy,
    destroy: to("destroying"),
    booted: to("started"),
    boot_failed: to("failed"),
    exited: to("stopping"),
  },
  started: {
    start: stay,
    stop: to("stopping"),
    suspend: to("suspending"),
    destroy: to("destroying"),
    exited: to("stopping"),
  },
  stopping: {
    start: busy,
    stop: stay,
    suspend: notStarted,
    destroy: to("destroying"),
    stopped: to("stopped"),
    stop_failed: to("failed"),
  },
  stopped: { start: to("starting"), stop: stay, suspend: notStarted, destroy: to("destroying") },
  suspending: {
    // Calls the suspending off, or takes up again what it has just saved.
    start: to("starting"),
    stop: to("stopping"),
    suspend: stay,
    destroy: to("destroying"),
    exited: to("stopping"),
    suspended: to("suspended"),
    suspend_failed: to("started"),
  },
  suspended: { start: to("starting"), stop: to("stopping"), suspend: stay, destroy: to("destroying") },
  failed: { start: to("starting"), stop: stay, suspend: notStarted, destroy: to("destroying") },
  destroying: { start: gone, stop: gone, suspend: gone, destroy: stay, destroyed: to("destroyed") },
  destroyed: { start: gone, stop: gone, suspend: gone, destroy: stay },
};

/** What `event` does to a machine in `state`. */
export function transition(state: MachineState, event: MachineEvent): Transition {
  return TABLE[state][event] ?? stay;
}

/** States in which the machine takes memory of its host. */
export function holdsMemory(state: MachineState): boolean {
  return state === "starting" || state === "started" || state === "stopping" || state === "suspending";
}

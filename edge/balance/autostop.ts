/**
 * Which idle machines of an app to stop: the reference's rule (section 1.4). In each region, of n that run with `over` of
 * them at their soft limit or above, one may be spared if n − (over + 1) is 1 or more; the only one only while it has no
 * load at all. At most one in a region at a time, never below `min_machines_running`, never one with a connection.
 *
 * Stricter than the reference in two things: a machine must have been unused for a whole pass (load between two requests
 * is 0 too), and not just have started. What another host's edge knows alone counts as busy.
 *
 * Pure. Hosts do not talk to each other about it: pass k of an app in a region belongs to the k-th of the hosts that have
 * machines of it there, so that no two stop one at once.
 */
export const AUTOSTOP_INTERVAL_MS = 60_000;
/** After its start a machine is left alone: whoever it was started for may come back. */
export const AUTOSTOP_GRACE_MS = 120_000;

export interface RunningMachine {
  readonly id: string;
  readonly hostId: string;
  readonly region: string;
  /** Of this edge's own host, so that what follows is known. */
  readonly known: boolean;
  /** Requests and tunnels under way. */
  readonly load: number;
  readonly overSoftLimit: boolean;
  /** No request in the last pass. */
  readonly unused: boolean;
  readonly startedAtMs: number | null;
  /** All its services allow it. */
  readonly mayStop: boolean;
}

export interface AutostopState {
  readonly hostId: string;
  /** Running and on the way to running, of one app; those that are being stopped left out. */
  readonly machines: readonly RunningMachine[];
  readonly minRunning: number;
  /** Where `minRunning` holds; null: in every region, because it is not known. */
  readonly primaryRegion: string | null;
}

/** @param nowMs wall clock @returns machines to stop: at most one in a region */
export function autostop(state: AutostopState, nowMs: number): RunningMachine[] {
  const regions = new Map<string, RunningMachine[]>();
  for (const machine of state.machines) {
    const there = regions.get(machine.region);
    if (there === undefined) regions.set(machine.region, [machine]);
    else there.push(machine);
  }
  const stopped: RunningMachine[] = [];
  for (const [region, machines] of regions) {
    const hosts = [...new Set(machines.map(({ hostId }) => hostId))].sort();
    if (hosts[Math.floor(nowMs / AUTOSTOP_INTERVAL_MS) % hosts.length] !== state.hostId) continue;
    const over = machines.filter(({ known, overSoftLimit }) => !known || overSoftLimit).length;
    const excess = machines.length === 1 ? 1 : machines.length - (over + 1);
    const least = state.primaryRegion === null || state.primaryRegion === region ? state.minRunning : 0;
    if (excess < 1 || machines.length - 1 < least) continue;
    const idle = machines.filter((machine) => isIdle(machine, nowMs));
    // The one that has run longest; any order would do, as long as it is one.
    idle.sort((a, b) => (a.startedAtMs ?? 0) - (b.startedAtMs ?? 0) || (a.id < b.id ? -1 : 1));
    if (idle[0] !== undefined) stopped.push(idle[0]);
  }
  return stopped;
}

function isIdle(machine: RunningMachine, nowMs: number): boolean {
  return machine.known && machine.mayStop && machine.unused && machine.load === 0 &&
    nowMs - (machine.startedAtMs ?? 0) >= AUTOSTOP_GRACE_MS;
}

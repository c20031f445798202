/** A worker host as far as routing goes: its machines, and whether it is dead. */
import type { MachineEntry } from "./machine-entry.ts";

export class HostEntry {
  readonly id: string;
  /** `balance/dead-hosts.ts` says so. */
  dead: boolean;
  /** In no order. */
  readonly machines: MachineEntry[] = [];

  constructor(id: string, dead: boolean) {
    this.id = id;
    this.dead = dead;
  }

  add(machine: MachineEntry): void {
    machine.atHost = this.machines.push(machine) - 1;
  }

  remove(machine: MachineEntry): void {
    const last = this.machines.pop()!;
    if (last !== machine) {
      this.machines[machine.atHost] = last;
      last.atHost = machine.atHost;
    }
    machine.atHost = -1;
  }
}

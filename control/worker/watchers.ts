/** The watcher of each VM that runs under this agent. */
import type { GuestLogLine } from "../contract/guest-api.ts";
import type { Vm } from "./vmm/driver.ts";
import { Watcher } from "./watch.ts";

export interface WatchersOptions {
  readonly logsFrom: (machineId: string) => number;
  readonly onLine: (machineId: string, line: GuestLogLine) => void;
  readonly onTrouble: (machineId: string, error: unknown) => void;
  readonly random: () => number;
}

export class Watchers {
  readonly #options: WatchersOptions;
  readonly #watchers = new Map<string, Watcher>();

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  find(machineId: string): Watcher | null {
    return this.#watchers.get(machineId) ?? null;
  }

  /** Of the machines that are watched. */
  ids(): string[] {
    return [...this.#watchers.keys()];
  }

  /** Begins to watch; the watcher that is there already stays where it watches the same VM. */
  open(vm: Vm): Watcher {
    const { machineId } = vm;
    const found = this.#watchers.get(machineId);
    if (found !== undefined && found.vm.pid === vm.pid) return found;
    found?.detach();
    const watcher = new Watcher({
      machineId,
      vm,
      logsFrom: this.#options.logsFrom(machineId),
      onLine: (line) => this.#options.onLine(machineId, line),
      onTrouble: (error) => this.#options.onTrouble(machineId, error),
      random: this.#options.random,
    });
    this.#watchers.set(machineId, watcher);
    return watcher;
  }

  /** Lets go of the machine's VM, which may live on. */
  close(machineId: string): void {
    this.#watchers.get(machineId)?.detach();
    this.#watchers.delete(machineId);
  }

  closeAll(): void {
    for (const machineId of [...this.#watchers.keys()]) this.close(machineId);
  }
}

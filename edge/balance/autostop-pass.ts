/**
 * Runs `autostop` for the machines of this edge's host and has the worker stop what it names. From the decision on the
 * machine gets nothing new; a request that comes meanwhile, with no other machine there, waits until the machine is at
 * rest and starts it again.
 */
import type { AppRoute } from "../routes/app-route.ts";
import type { MachineEntry } from "../routes/machine-entry.ts";
import type { RouteTable } from "../routes/route-table.ts";
import { autostop, AUTOSTOP_INTERVAL_MS, type RunningMachine } from "./autostop.ts";
import type { WorkerDoor } from "./worker-door.ts";

export interface AutostopOptions {
  readonly routes: () => RouteTable;
  readonly door: WorkerDoor;
  readonly hostId: string;
  readonly wallMs: () => number;
  readonly random: () => number;
}

export class AutostopPass {
  readonly #options: AutostopOptions;
  #timer: ReturnType<typeof setTimeout> | null = null;
  stopped = 0;
  failed = 0;

  constructor(options: AutostopOptions) {
    this.#options = options;
  }

  start(): void {
    // Anywhere in the interval: edges that began together do not all look at once.
    const waitMs = AUTOSTOP_INTERVAL_MS * (0.5 + this.#options.random() / 2);
    this.#timer = setTimeout(() => void this.run().finally(() => this.start()), waitMs);
    this.#timer.unref();
  }
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** One pass; resolves when the worker has answered. */
  async run(): Promise<void> {
    const { hostId, wallMs } = this.#options;
    const routes = this.#options.routes();
    const apps = new Set<AppRoute>();
    for (const machine of routes.ownMachines) if (machine.leaving) this.#takeBack(machine);
    for (const machine of routes.ownMachines) if (mayStop(machine)) apps.add(machine.app);
    const asked: Promise<void>[] = [];
    for (const app of apps) {
      const machines = app.machines.filter(runs).map((machine) => view(machine, hostId));
      const minRunning = Math.max(
        0,
        ...app.machines.flatMap(({ shape }) => shape.services.map((each) => each.min_machines_running ?? 0)),
      );
      for (const { id } of autostop({ hostId, machines, minRunning, primaryRegion: null }, wallMs())) {
        asked.push(this.#stop(app.machine(id)!));
      }
    }
    for (const machine of routes.ownMachines) {
      for (let each = machine.backends; each !== null; each = each.sibling) each.used = false;
    }
    await Promise.all(asked);
  }

  async #stop(machine: MachineEntry): Promise<void> {
    const { door } = this.#options;
    machine.leaving = true;
    this.#options.routes().rebuild(machine.app);
    if (await door.call(machine.id, "stop") === null) {
      this.stopped++;
      return;
    }
    this.failed++;
    this.#takeBack(machine);
  }

  /** The worker did not take it on, or took it on a pass ago and nothing has come of it. */
  #takeBack(machine: MachineEntry): void {
    machine.leaving = false;
    this.#options.routes().rebuild(machine.app);
  }
}

function runs(machine: MachineEntry): boolean {
  return !machine.cordoned && !machine.leaving &&
    (machine.state === "started" || machine.state === "starting");
}

function mayStop({ shape }: MachineEntry): boolean {
  return shape.services.length > 0 &&
    shape.services.every((service) => (service.auto_stop_machines ?? "off") !== "off");
}

function view(machine: MachineEntry, hostId: string): RunningMachine {
  let load = 0, over = false, used = false;
  for (let each = machine.backends; each !== null; each = each.sibling) {
    load += each.inFlight;
    over ||= each.inFlight >= each.softLimit;
    used ||= each.used;
  }
  return {
    id: machine.id,
    hostId: machine.hostId,
    region: machine.region,
    known: machine.hostId === hostId && machine.state === "started",
    load,
    overSoftLimit: over,
    unused: !used,
    startedAtMs: machine.startedAtMs,
    mayStop: mayStop(machine),
  };
}

/** The forwarding state of one app: its machines, and for each port that a listener can stand for those behind it. */
import type { RegionDistances } from "../balance/region-distance.ts";
import type { Policy } from "../policy/policy.ts";
import type { AppCounts } from "../request/app-counts.ts";
import type { Backend } from "./backend.ts";
import type { MachineEntry } from "./machine-entry.ts";
import { Waiters } from "./waiters.ts";

/** Machines of one region behind one port. */
export interface RegionPool {
  readonly region: string;
  readonly backends: Backend[];
}

export class ServiceRoute {
  readonly app: AppRoute;
  readonly port: number;
  /** Machines that take requests (started, uncordoned, healthy) in the edge's own region. */
  near: Backend[] = [];
  /** Those elsewhere; read them through `farByDistance`. */
  far: RegionPool[] = [];
  /** Machines that will take requests soon. */
  starting = 0;
  /** Machines that could be started on demand: stopped or suspended, and not kept so by `auto_start_machines`. */
  startable = 0;
  /** Started machines whose checks fail. */
  unhealthy = 0;
  /** What the service asks of the edge beyond forwarding; null where nothing. */
  policy: Policy | null = null;
  #waiters: Waiters | null = null;
  #farVersion = -1;

  constructor(port: number, app: AppRoute = new AppRoute("")) {
    this.port = port;
    this.app = app;
  }

  /** Made when somebody waits: most services never have anyone. */
  get waiters(): Waiters {
    return this.#waiters ??= new Waiters(this.app);
  }
  get waiting(): Waiters | null {
    return this.#waiters;
  }

  /** Nearest region first. */
  farByDistance(distances: RegionDistances): readonly RegionPool[] {
    if (this.#farVersion !== distances.version && this.far.length > 1) {
      this.far.sort((one, two) => distances.compare(one.region, two.region));
    }
    this.#farVersion = distances.version;
    return this.far;
  }

  *backends(): Generator<Backend> {
    yield* this.near;
    for (const { backends } of this.far) yield* backends;
  }
  has(backend: Backend): boolean {
    return this.near.includes(backend) || this.far.some(({ backends }) => backends.includes(backend));
  }
  get size(): number {
    return this.far.reduce((sum, { backends }) => sum + backends.length, this.near.length);
  }

  clear(): void {
    this.near = [];
    this.far = [];
    this.#farVersion = -1;
    this.starting = 0;
    this.startable = 0;
    this.unhealthy = 0;
  }
}

export class AppRoute {
  readonly id: string;
  /** Null until the app's own row is there. */
  name: string | null = null;
  /** Of its organisation; null until the app's own row is there. */
  orgId: string | null = null;
  readonly services = new Map<number, ServiceRoute>();
  /** Null until its first request. */
  counts: AppCounts | null = null;
  /** In no order. */
  readonly machines: MachineEntry[] = [];
  /** Host names that lead here. */
  hostnames = 0;
  /** Requests that wait, at all ports together. */
  waiting = 0;

  constructor(id: string) {
    this.id = id;
  }

  service(port: number): ServiceRoute {
    let service = this.services.get(port);
    if (service === undefined) {
      service = new ServiceRoute(port, this);
      this.services.set(port, service);
    }
    return service;
  }

  add(machine: MachineEntry): void {
    machine.app = this;
    machine.at = this.machines.push(machine) - 1;
  }

  remove(machine: MachineEntry): void {
    const last = this.machines.pop()!;
    if (last !== machine) {
      this.machines[machine.at] = last;
      last.at = machine.at;
    }
    machine.at = -1;
  }

  machine(id: string): MachineEntry | null {
    return this.machines.find((machine) => machine.id === id) ?? null;
  }
}

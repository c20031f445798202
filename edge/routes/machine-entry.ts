/**
 * What routing knows of one machine. There may be a million, so it is flat and shares what it can: no map, no array and
 * no string of its own that another machine has too.
 */
import type { MachineState } from "../../control/contract/machine.ts";
import type { AppRoute } from "./app-route.ts";
import type { Backend } from "./backend.ts";
import type { HostEntry } from "./host-entry.ts";
import type { ServiceShape } from "./service-shape.ts";

export class MachineEntry {
  readonly id: string;
  readonly host: HostEntry;
  /** Its place in `host.machines`. */
  atHost = -1;
  app: AppRoute;
  /** Its place in `app.machines`. */
  at = -1;
  region = "";
  state: MachineState = "created";
  cordoned = false;
  healthy = true;
  /** This edge is about to have it stopped: it gets nothing new. */
  leaving = false;
  /** IPv4 where it has one. */
  address: string | null = null;
  startedAtMs: number | null = null;
  shape: ServiceShape;
  /** First of the list of its ports, linked by `Backend.sibling`. Null unless it is started. */
  backends: Backend | null = null;

  constructor(id: string, host: HostEntry, app: AppRoute, shape: ServiceShape) {
    this.id = id;
    this.host = host;
    this.app = app;
    this.shape = shape;
  }

  get hostId(): string {
    return this.host.id;
  }

  /** At rest in a state from which a request may bring it back. */
  get startable(): boolean {
    return this.state === "stopped" || this.state === "suspended";
  }

  /** Where requests for the given port inside the VM go. */
  backend(internalPort: number): Backend | null {
    for (let each = this.backends; each !== null; each = each.sibling) {
      if (each.port === internalPort) return each;
    }
    return null;
  }

  /** What it serves behind an external port. */
  serviceAt(port: number) {
    const found = this.shape.ports.find((each) => each.port === port);
    return found === undefined ? null : this.shape.services[found.service]!;
  }
}

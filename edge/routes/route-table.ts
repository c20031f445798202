/**
 * The forwarding table: host name → app → service by port → machines. Rows come in any order (a machine before its app,
 * a host name before both), so each app's route is made when it is first named and rebuilt when a row of it changes;
 * nothing else is touched, and a backend that did not change keeps its connections and counts.
 */
import type { AppRow, HostnameRow, MachineRow } from "../../control/contract/rows.ts";
import { AppRoute } from "./app-route.ts";
import { Backend } from "./backend.ts";

/** How long after its start a machine's refusals mean that its app is not listening yet. */
export const START_GRACE_MS = 15_000;

/** A row that has become valid, or has gone (`row: null`). */
export type RowChange =
  | { readonly table: "hostnames"; readonly key: string; readonly row: HostnameRow | null }
  | { readonly table: "apps"; readonly key: string; readonly row: AppRow | null }
  | { readonly table: "machines"; readonly key: string; readonly row: MachineRow | null };

interface MachineEntry {
  app: AppEntry;
  /** Fields that routing needs; the row's other fields are in the replica. */
  row: Pick<MachineRow, "id" | "region" | "state" | "cordoned" | "address4" | "started_at_ms">;
  /** External port → backend. Empty unless the machine is started. */
  ports: Map<number, Backend>;
  /** External ports that it will serve. Empty unless the machine is starting. */
  portsSoon: readonly number[];
}

const NONE: readonly number[] = [];

interface AppEntry {
  readonly route: AppRoute;
  readonly machines: Set<MachineEntry>;
  /** Host names that lead here. */
  hostnames: number;
}

export interface RouteTableOptions {
  readonly region: string;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
}

export class RouteTable {
  readonly #options: RouteTableOptions;
  readonly #hostnames = new Map<string, AppEntry>();
  /** How many of them are patterns; without any, a name that is not there costs one look-up. */
  #patterns = 0;
  readonly #apps = new Map<string, AppEntry>();
  readonly #machines = new Map<string, MachineEntry>();

  constructor(options: RouteTableOptions) {
    this.#options = options;
  }

  get sizes(): { hostnames: number; apps: number; machines: number } {
    return { hostnames: this.#hostnames.size, apps: this.#apps.size, machines: this.#machines.size };
  }

  /** @param host lower case, without port */
  find(host: string): AppRoute | null {
    const entry = this.#hostnames.get(host);
    if (entry !== undefined) return entry.route;
    return this.#patterns === 0 ? null : this.#findPattern(host);
  }

  /** The longest pattern: `*.b.c` before `*.c` before `*`. */
  #findPattern(host: string): AppRoute | null {
    if (this.#patterns === 1 && this.#hostnames.has("*")) return this.#hostnames.get("*")!.route;
    for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
      const entry = this.#hostnames.get(`*${host.slice(dot)}`);
      if (entry !== undefined) return entry.route;
    }
    return this.#hostnames.get("*")?.route ?? null;
  }

  apply(changes: readonly RowChange[]): void {
    const touched = new Set<AppEntry>();
    const renamed = new Set<AppEntry>();
    for (const change of changes) {
      switch (change.table) {
        case "hostnames":
          this.#applyHostname(change.key, change.row, renamed);
          break;
        case "apps":
          renamed.add(this.#app(change.key));
          this.#app(change.key).route.name = change.row?.name ?? null;
          break;
        case "machines":
          this.#applyMachine(change.key, change.row, touched);
      }
    }
    for (const app of touched) this.#rebuild(app);
    for (const app of [...touched, ...renamed]) {
      // Nothing names it any more: without this, every app there ever was would stay.
      const { route, machines, hostnames } = app;
      if (route.name === null && machines.size === 0 && hostnames === 0) this.#apps.delete(route.id);
    }
  }

  #applyHostname(key: string, row: HostnameRow | null, renamed: Set<AppEntry>): void {
    const before = this.#hostnames.get(key);
    if (before !== undefined) {
      before.hostnames--;
      renamed.add(before);
      if (isPattern(key)) this.#patterns--;
    }
    this.#hostnames.delete(key);
    if (row === null) return;
    const app = this.#app(row.app_id);
    app.hostnames++;
    this.#hostnames.set(key, app);
    if (isPattern(key)) this.#patterns++;
  }

  #app(id: string): AppEntry {
    let app = this.#apps.get(id);
    if (app === undefined) {
      app = { route: new AppRoute(id), machines: new Set(), hostnames: 0 };
      this.#apps.set(id, app);
    }
    return app;
  }

  #applyMachine(key: string, row: MachineRow | null, touched: Set<AppEntry>): void {
    const before = this.#machines.get(key);
    if (row === null || row.state === "destroyed") {
      if (before === undefined) return;
      this.#machines.delete(key);
      before.app.machines.delete(before);
      for (const backend of before.ports.values()) backend.retire();
      touched.add(before.app);
      return;
    }
    const app = this.#app(row.app_id);
    const { id, region, state, cordoned, address4, started_at_ms } = row;
    const slim = { id, region, state, cordoned, address4, started_at_ms };
    const ports = this.#backends(row, before);
    if (before !== undefined && before.app !== app) {
      before.app.machines.delete(before);
      touched.add(before.app);
    }
    const portsSoon = row.state === "starting"
      ? row.services.flatMap((service) => service.ports.map(({ port }) => port))
      : NONE;
    const entry = before ?? { app, row: slim, ports, portsSoon };
    Object.assign(entry, { app, row: slim, ports, portsSoon });
    this.#machines.set(key, entry);
    app.machines.add(entry);
    touched.add(app);
  }

  /** Backends of the row's services; those at the same address and port, in the same run, stay what they were. */
  #backends(row: MachineRow, before: MachineEntry | undefined): Map<number, Backend> {
    const ports = new Map<number, Backend>();
    // IPv6 alone is what an edge by itself may be given.
    const address = row.address4 ?? row.address6;
    if (row.state === "started" && address !== null) {
      const sameRun = before?.row.started_at_ms === row.started_at_ms;
      for (const service of row.services) {
        let backend: Backend | undefined;
        for (const old of before?.ports.values() ?? []) {
          if (sameRun && old.address === address && old.port === service.internal_port) backend = old;
        }
        if (backend === undefined) {
          backend = new Backend(row.id, row.region, address, service.internal_port);
          backend.warmUntilMs = this.#warmUntilMs(row, before);
        }
        backend.softLimit = service.concurrency.soft_limit;
        backend.hardLimit = service.concurrency.hard_limit ?? Infinity;
        for (const { port } of service.ports) ports.set(port, backend);
      }
    }
    const kept = new Set(ports.values());
    for (const old of before?.ports.values() ?? []) if (!kept.has(old)) old.retire();
    return ports;
  }

  /** A start that happens before our eyes counts from now, whatever the worker's clock says. */
  #warmUntilMs(row: MachineRow, before: MachineEntry | undefined): number {
    const seen = before !== undefined && before.row.state !== "started";
    const ageMs = seen || row.started_at_ms === null ? 0 : this.#options.wallMs() - row.started_at_ms;
    return this.#options.nowMs() + START_GRACE_MS - Math.max(0, ageMs);
  }

  #rebuild(app: AppEntry): void {
    const services = app.route.services;
    for (const service of services.values()) {
      service.near = [];
      service.far = [];
      service.starting = 0;
    }
    for (const machine of app.machines) {
      if (machine.row.cordoned) continue;
      for (const port of machine.portsSoon) app.route.service(port).starting++;
      for (const [port, backend] of machine.ports) {
        const service = app.route.service(port);
        if (machine.row.region === this.#options.region) service.near.push(backend);
        else service.far.push(backend);
      }
    }
    for (const service of services.values()) service.waiters.wakeAll();
  }
}

function isPattern(hostname: string): boolean {
  return hostname.charCodeAt(0) === 0x2a;
}

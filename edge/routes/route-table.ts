/**
 * The forwarding table: host name → app → service by port → machines. Rows come in any order (a machine before its app,
 * a host name before both), so each app's route is made when it is first named and rebuilt when a row of it changes;
 * nothing else is touched, and a backend that did not change keeps its connections and counts.
 */
import type { MachineState, Service } from "../../control/contract/machine.ts";
import type {
  AcmeAnswerRow,
  AppRow,
  CertificateRow,
  HostnameRow,
  HostRow,
  MachineRow,
} from "../../control/contract/rows.ts";
import { RECENTLY_STOPPED_MS } from "../../control/contract/worker-edge-api.ts";
import { RegionDistances } from "../balance/region-distance.ts";
import { backPoolOf } from "../http2/back-pool.ts";
import type { PolicyDependencies } from "../policy/policy.ts";
import { applyPolicies } from "../policy/port-wishes.ts";
import { AppRoute, type ServiceRoute } from "./app-route.ts";
import { Backend, PeerHost } from "./backend.ts";
import { HostEntry } from "./host-entry.ts";
import { MachineEntry } from "./machine-entry.ts";
import { NO_SERVICES, ServiceShapes } from "./service-shape.ts";

/** How long after its start a machine's refusals mean that its app is not listening yet. */
export const START_GRACE_MS = 15_000;

/** A row that has become valid, or has gone (`row: null`). */
export type RowChange =
  | { readonly table: "hostnames"; readonly key: string; readonly row: HostnameRow | null }
  | { readonly table: "apps"; readonly key: string; readonly row: AppRow | null }
  | { readonly table: "machines"; readonly key: string; readonly row: MachineRow | null }
  | { readonly table: "hosts"; readonly key: string; readonly row: HostRow | null }
  | { readonly table: "certificates"; readonly key: string; readonly row: CertificateRow | null }
  | { readonly table: "acme_answers"; readonly key: string; readonly row: AcmeAnswerRow | null };

export interface RouteTableOptions {
  readonly region: string;
  /** The host that this edge stands on: its machines are reached directly. */
  readonly hostId?: string | null;
  /** Whether machines of other hosts are reached by way of those hosts' edges, where they have one. */
  readonly usesPeers?: boolean;
  /** A machine runs, or its start has come to nothing. */
  readonly onStart?: (machine: MachineEntry, started: boolean) => void;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** @default none is known yet */
  readonly distances?: RegionDistances;
  /** Without it services have no policies. */
  readonly policies?: PolicyDependencies;
}

export class RouteTable {
  readonly distances: RegionDistances;
  readonly #options: RouteTableOptions;
  readonly #hostnames = new Map<string, AppRoute>();
  /** How many of them are patterns; without any, a name that is not there costs one look-up. */
  #patterns = 0;
  readonly #apps = new Map<string, AppRoute>();
  /** By name, which all organisations share. */
  readonly #named = new Map<string, AppRoute>();
  readonly #machines = new Map<string, MachineEntry>();
  /** Edges of other hosts. */
  readonly #hosts = new Map<string, PeerHost>();
  /** Hosts with machines. */
  readonly #machineHosts = new Map<string, HostEntry>();
  #deadHosts: ReadonlySet<string> = new Set();
  /** Machines of the host that this edge stands on. */
  readonly ownMachines = new Set<MachineEntry>();
  /** When those of them came to rest that did so before our eyes; monotonic. */
  readonly #restedMs = new WeakMap<MachineEntry, number>();
  readonly #shapes = new ServiceShapes();
  /** Names of regions, hosts and states, one string each. */
  readonly #names = new Map<string, string>();

  constructor(options: RouteTableOptions) {
    this.#options = options;
    this.distances = options.distances ?? new RegionDistances();
  }

  get sizes(): { hostnames: number; apps: number; machines: number } {
    return { hostnames: this.#hostnames.size, apps: this.#apps.size, machines: this.#machines.size };
  }

  /** Of the rows that it holds. */
  *keys(table: RowChange["table"]): Iterable<string> {
    if (table === "hostnames") yield* this.#hostnames.keys();
    else if (table === "machines") yield* this.#machines.keys();
    else if (table === "apps") {
      for (const { id, name } of this.#apps.values()) if (name !== null) yield id;
    } else if (table === "hosts") {
      for (const { id, target } of this.#hosts.values()) if (target !== null) yield id;
    }
  }

  /** @param host lower case, without port */
  find(host: string): AppRoute | null {
    const app = this.#hostnames.get(host);
    if (app !== undefined) return app;
    return this.#patterns === 0 ? null : this.#findPattern(host);
  }

  /** The longest pattern: `*.b.c` before `*.c` before `*`. */
  #findPattern(host: string): AppRoute | null {
    if (this.#patterns === 1 && this.#hostnames.has("*")) return this.#hostnames.get("*")!;
    for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
      const app = this.#hostnames.get(`*${host.slice(dot)}`);
      if (app !== undefined) return app;
    }
    return this.#hostnames.get("*") ?? null;
  }

  machineKeysOf(appId: string): string[] {
    return this.#apps.get(appId)?.machines.map(({ hostId, id }) => `${hostId}/${id}`) ?? [];
  }

  appNamed(name: string): AppRoute | null {
    return this.#named.get(name) ?? null;
  }

  /** The key by which `find` finds: the name itself or the longest pattern. For explanations. */
  hostnameKey(host: string): string | null {
    return hostnameKeys(host).find((key) => this.#hostnames.has(key)) ?? null;
  }

  /** @param key `HOST_ID/MACHINE_ID` */
  machine(key: string): MachineEntry | null {
    return this.#machines.get(key) ?? null;
  }

  apply(changes: readonly RowChange[]): void {
    const touched = new Set<AppRoute>();
    const renamed = new Set<AppRoute>();
    for (const change of changes) {
      switch (change.table) {
        case "hostnames":
          this.#applyHostname(change.key, change.row, renamed);
          break;
        case "apps":
          renamed.add(this.#applyApp(change.key, change.row));
          break;
        case "hosts":
          this.#applyHost(change.key, change.row);
          break;
        case "machines":
          this.#applyMachine(change.key, change.row, touched);
      }
    }
    for (const app of touched) this.rebuild(app);
    for (const app of [...touched, ...renamed]) {
      // Nothing names it any more: without this, every app there ever was would stay.
      const { id, name, machines, hostnames } = app;
      if (name === null && machines.length === 0 && hostnames === 0) this.#apps.delete(id);
    }
  }

  #applyApp(key: string, row: AppRow | null): AppRoute {
    const app = this.#app(key);
    if (app.name !== null && this.#named.get(app.name) === app) this.#named.delete(app.name);
    app.name = row?.name ?? null;
    app.orgId = row === null ? null : this.#name(row.org_id);
    if (app.name !== null) this.#named.set(app.name, app);
    return app;
  }

  #applyHostname(key: string, row: HostnameRow | null, renamed: Set<AppRoute>): void {
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

  #app(id: string): AppRoute {
    let app = this.#apps.get(id);
    if (app === undefined) {
      app = new AppRoute(id);
      this.#apps.set(id, app);
    }
    return app;
  }

  #applyHost(key: string, row: HostRow | null): void {
    const host = this.#host(key);
    if (host === null) return;
    const target = targetOf(row?.edge ?? null);
    if (host.target?.address === target?.address && host.target?.port === target?.port) return;
    host.target = target;
  }

  /** Null where machines of that host are reached directly. */
  #host(id: string): PeerHost | null {
    const { usesPeers, hostId } = this.#options;
    if (usesPeers !== true || id === hostId) return null;
    let host = this.#hosts.get(id);
    if (host === undefined) {
      host = new PeerHost(id);
      this.#hosts.set(id, host);
    }
    return host;
  }

  /** For a machine that does not run: where its host's edge is, if it is to be asked. */
  peerOf(machine: MachineEntry): PeerHost | null {
    return this.#host(machine.hostId);
  }

  #applyMachine(key: string, row: MachineRow | null, touched: Set<AppRoute>): void {
    const before = this.#machines.get(key);
    if (row === null || row.state === "destroyed") {
      if (before === undefined) return;
      this.#machines.delete(key);
      this.ownMachines.delete(before);
      before.host.remove(before);
      if (before.host.machines.length === 0) this.#machineHosts.delete(before.host.id);
      this.#shapes.drop(before.shape);
      for (const backend of listOf(before.backends)) backend.retire();
      before.app.remove(before);
      touched.add(before.app);
      return;
    }
    const app = this.#app(row.app_id);
    const machine = before ?? new MachineEntry(row.id, this.#machineHost(row.host_id), app, NO_SERVICES);
    if (before === undefined) {
      this.#machines.set(key, machine);
      machine.host.add(machine);
      if (row.host_id === this.#options.hostId) this.ownMachines.add(machine);
    } else if (before.app !== app) {
      touched.add(before.app);
      before.app.remove(before);
    }
    if (machine.at === -1) app.add(machine);
    touched.add(app);

    const wasStarted = before === undefined || before.state === "started";
    const sameRun = machine.startedAtMs === row.started_at_ms;
    const shape = this.#shapes.take(row.services);
    this.#shapes.drop(machine.shape);
    machine.shape = shape;
    machine.region = this.#name(row.region);
    const wasStarting = machine.state === "starting";
    const wasAtRest = before === undefined || machine.startable;
    machine.state = this.#name(row.state) as MachineState;
    if (!wasAtRest && machine.startable && this.ownMachines.has(machine)) {
      this.#restedMs.set(machine, this.#options.nowMs());
    }
    if (machine.state === "started" && !wasStarted) this.#options.onStart?.(machine, true);
    else if (wasStarting && machine.state !== "starting") this.#options.onStart?.(machine, false);
    machine.cordoned = row.cordoned;
    machine.healthy = row.healthy !== false;
    if (machine.state !== "started") machine.leaving = false;
    // IPv6 alone is what an edge by itself may be given.
    const address = row.address4 ?? row.address6;
    if (machine.address !== address) machine.address = address;
    machine.startedAtMs = row.started_at_ms;
    this.#connect(machine, sameRun, wasStarted);
  }

  #machineHost(id: string): HostEntry {
    let host = this.#machineHosts.get(id);
    if (host === undefined) {
      host = new HostEntry(this.#name(id), this.#deadHosts.has(id));
      this.#machineHosts.set(id, host);
    }
    return host;
  }

  /** The machines of these hosts are passed over, and those of all others are not. */
  setDeadHosts(dead: ReadonlySet<string>): void {
    const before = this.#deadHosts;
    this.#deadHosts = dead;
    const apps = new Set<AppRoute>();
    for (const id of new Set([...before, ...dead])) {
      const host = this.#machineHosts.get(id);
      if (host === undefined || host.dead === dead.has(id)) continue;
      host.dead = dead.has(id);
      for (const machine of host.machines) {
        for (let each = machine.backends; each !== null; each = each.sibling) {
          if (host.dead) each.hostDied();
          else each.hostCameBack();
        }
        apps.add(machine.app);
      }
    }
    for (const app of apps) {
      for (const service of app.services.values()) service.waiting?.wakeAll();
    }
  }

  #name(name: string): string {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    this.#names.set(name, name);
    return name;
  }

  /** Makes the backends of a started machine; one that did not change keeps its connections and counts. */
  #connect(machine: MachineEntry, sameRun: boolean, wasStarted: boolean): void {
    const old = listOf(machine.backends);
    const made: Backend[] = [];
    const { address, shape } = machine;
    if (machine.state === "started" && address !== null) {
      for (const { internal_port: port, concurrency } of shape.services) {
        // Two services may lead to one port inside the VM: it has one load.
        let backend = made.find((each) => each.port === port);
        if (backend === undefined) {
          if (sameRun) backend = old.find((each) => each.port === port && each.address === address);
          if (backend === undefined) {
            const peer = this.#host(machine.hostId);
            backend = new Backend(machine.id, machine.region, address, port, peer);
            backend.warmUntilMs = this.#warmUntilMs(machine, wasStarted);
            if (machine.host.dead) backend.hostDied();
          }
          made.push(backend);
        }
        backend.http2 = backPoolOf(backend.http2, shape.services, port);
        backend.softLimit = concurrency.soft_limit;
        backend.hardLimit = concurrency.hard_limit ?? Infinity;
      }
    }
    for (const each of old) if (!made.includes(each)) each.retire();
    machine.backends = null;
    for (const each of made.reverse()) {
      each.sibling = machine.backends;
      machine.backends = each;
    }
  }

  /** A start that happens before our eyes counts from now, whatever the worker's clock says. */
  #warmUntilMs(machine: MachineEntry, wasStarted: boolean): number {
    const { startedAtMs } = machine;
    const ageMs = !wasStarted || startedAtMs === null ? 0 : this.#options.wallMs() - startedAtMs;
    return this.#options.nowMs() + START_GRACE_MS - Math.max(0, ageMs);
  }

  /** A machine of this edge's host is coming to rest, or did a moment ago: who sent a request for it did not know that. */
  justStopped(machine: MachineEntry): boolean {
    if (machine.leaving || machine.state === "stopping" || machine.state === "suspending") return true;
    const restedMs = machine.startable ? this.#restedMs.get(machine) : undefined;
    return restedMs !== undefined && this.#options.nowMs() - restedMs < RECENTLY_STOPPED_MS;
  }

  /** Whoever waits for a machine of the same app looks again. */
  wake(key: string): void {
    const app = this.#machines.get(key)?.app;
    for (const service of app?.services.values() ?? []) service.waiting?.wakeAll();
  }

  /** Makes an app's lists anew. Also to be called after a change of `MachineEntry.leaving`. */
  rebuild(app: AppRoute): void {
    for (const service of app.services.values()) service.clear();
    for (const machine of app.machines) {
      if (machine.cordoned) continue;
      for (const { port, service } of machine.shape.ports) {
        this.#place(machine, app.service(port), machine.shape.services[service]!);
      }
    }
    const policies = this.#options.policies;
    if (policies !== undefined) applyPolicies(app, policies);
    for (const service of app.services.values()) service.waiting?.wakeAll();
  }

  #place(machine: MachineEntry, route: ServiceRoute, service: Service): void {
    switch (machine.state) {
      case "starting":
        route.starting++;
        break;
      case "stopping":
      case "suspending":
        // At rest soon, and brought back then.
        if (this.#options.onStart !== undefined && service.auto_start_machines !== false) route.starting++;
        break;
      case "stopped":
      case "suspended":
        if (service.auto_start_machines !== false) route.startable++;
        break;
      case "started": {
        if (machine.leaving) {
          if (service.auto_start_machines !== false) route.starting++;
          break;
        }
        const backend = machine.backend(service.internal_port);
        if (backend === null) break;
        if (!machine.healthy) route.unhealthy++;
        else if (machine.region === this.#options.region) route.near.push(backend);
        else {
          const pool = route.far.find(({ region }) => region === machine.region);
          if (pool === undefined) route.far.push({ region: machine.region, backends: [backend] });
          else pool.backends.push(backend);
        }
      }
    }
  }
}

/** Keys that a host name may be found by, the first that is there counting: the name, then patterns, longest first. */
export function hostnameKeys(host: string): string[] {
  const labels = host.split(".");
  return [host, ...labels.slice(1).map((_, i) => `*.${labels.slice(i + 1).join(".")}`), "*"];
}

function listOf(first: Backend | null): Backend[] {
  const all: Backend[] = [];
  for (let each = first; each !== null; each = each.sibling) all.push(each);
  return all;
}

/** @param edge `ADDRESS:PORT`, an IPv6 address in brackets */
function targetOf(edge: string | null): { address: string; port: number } | null {
  if (edge === null) return null;
  const colon = edge.lastIndexOf(":");
  const port = Number(edge.slice(colon + 1));
  const address = edge.slice(0, colon).replace(/^\[|\]$/g, "");
  return colon < 1 || !Number.isInteger(port) || port < 1 || port > 65_535 ? null : { address, port };
}

function isPattern(hostname: string): boolean {
  return hostname.charCodeAt(0) === 0x2a;
}

/** An edge: the parts put together, and the state that the stages of a request share. */
import type { Hono } from "hono";
import type { Logger } from "pino";
import type { EdgeConfig } from "../control/contract/process-config.ts";
import { AutostopPass } from "./balance/autostop-pass.ts";
import { BalanceCounts } from "./balance/balance-counts.ts";
import { MembershipClient } from "./balance/membership-client.ts";
import { PeerDoor, type PeerDoorway } from "./balance/peer-door.ts";
import { Starts } from "./balance/starts.ts";
import { WorkerDoor } from "./balance/worker-door.ts";
import { adminPages } from "./admin/admin-pages.ts";
import { ChooseProtocol } from "./http2/choose-protocol.ts";
import { FrontConnection } from "./http2/front-connection.ts";
import { queryOutcomes } from "./query/query-outcomes.ts";
import { KeySets } from "./policy/key-sets.ts";
import { PolicyCounts } from "./policy/policy-counts.ts";
import { AcceptProxied } from "./relay/accept-proxied.ts";
import { TcpConnection } from "./relay/tcp-connection.ts";
import { HTTP3_TIMES, Http3Front, type Http3Times } from "./http3/http3-front.ts";
import { ClientConnection } from "./relay/client-connection.ts";
import { Deadlines } from "./relay/deadlines.ts";
import { LIMITS, type Limits } from "./relay/limits.ts";
import type { ListenerInfo, RelayContext } from "./relay/relay-context.ts";
import { ReplayCounts } from "./replay/replay-counts.ts";
import { AccessLines } from "./request/access-line.ts";
import { AccessLog } from "./request/access-log.ts";
import { decisionApp } from "./request/decide.ts";
import { openPeers } from "./request/open-peers.ts";
import type { PeerFields } from "./request/peer-field.ts";
import { holdWaitersPerServiceMax, holdWaitMsMax } from "./request/hold.ts";
import { Metrics } from "./request/metrics.ts";
import { RequestIds } from "./request/request-id.ts";
import { refuse } from "./request/respond.ts";
import { connected } from "./request/send.ts";
import { failed, finished, received, serve, serveTunnel } from "./request/serve.ts";
import { responseFields } from "./request/upstream-head.ts";
import type { Tracing } from "./trace/tracing.ts";
import { AcceptTls } from "./tls/accept-tls.ts";
import type { HandshakeLimits } from "./tls/handshake-limits.ts";
import { TlsFront } from "./tls/tls-front.ts";
import { RouteTable, type RouteTableOptions, type RowChange } from "./routes/route-table.ts";
import { openRows, type RowSourceHost } from "./rows/open-rows.ts";
import type { RowSource } from "./rows/row-source.ts";
import { loopClock } from "./runtime/loop-clock.ts";
import type { Runtime } from "./runtime/runtime.ts";
import type { Listener, SocketEvents } from "./runtime/socket-port.ts";

/** How long running requests may take to finish once the edge stops. */
export const DRAIN_MS_MAX = 10_000;

/** What tests make small. */
export interface EdgeOptions {
  readonly limits?: Partial<Limits>;
  readonly handshakeLimits?: Partial<HandshakeLimits>;
  readonly holdWaitMsMax?: number;
  readonly holdWaitersMax?: number;
  readonly keysCooldownMs?: number;
  readonly http3Times?: Partial<Http3Times>;
  /** Other processes listen on the same ports: it is one of several workers. */
  readonly sharedPorts?: boolean;
  /** Instead of the source that the configuration names. */
  readonly openRows?: (host: RowSourceHost) => RowSource;
}

export class Edge {
  readonly region: string;
  /** The worker host that it stands on, if it does. */
  readonly hostId: string | null;
  readonly serverName: string;
  /** `Server`, `Via`, and the name of the field whose value is the request's id. */
  readonly responseSignature: string;
  readonly limits: Limits;
  readonly holdWaitMsMax: number;
  readonly holdWaitersMax: number;
  readonly routes: RouteTable;
  readonly requestIds: RequestIds;
  readonly deadlines = new Deadlines();
  readonly keySets: KeySets;
  readonly policyCounts = new PolicyCounts();
  readonly metrics: Metrics;
  /** Null: off. */
  tracing: Tracing | null = null;
  readonly http3: Http3Front[] = [];
  readonly balance = new BalanceCounts();
  readonly tls: TlsFront;
  readonly replays = new ReplayCounts();
  readonly app: Hono;
  readonly adminPages: Hono;
  readonly relay: RelayContext;
  readonly accessLog: AccessLog;
  readonly accessLines: AccessLines;
  readonly log: Logger;
  readonly random = Math.random;
  readonly nowMs = () => loopClock.ms;
  readonly wallMs = () => loopClock.wallMs;

  readonly #config: EdgeConfig;
  readonly #runtime: Runtime;
  readonly #http3Times: Http3Times;
  readonly #sharedPorts: boolean;
  readonly #openRows: EdgeOptions["openRows"];
  readonly #listeners: (Listener & { readonly at: string })[] = [];
  readonly #appListeners: { port: number; servicePort: number }[] = [];
  /** What requests between edges carry; null where there is no fleet. */
  peers: PeerFields | null = null;
  /** Machines that this edge has asked for; null where there is no worker beside it. */
  readonly starts: Starts | null;
  /** Machines that edges of other hosts have been asked for; null where there is no fleet. */
  readonly peerStarts: Starts<PeerDoorway> | null;
  /** Stops idle machines of this host; null where there is no worker beside it. */
  readonly autostop: AutostopPass | null;
  /** Hears which hosts are dead; null where no agent is configured. */
  readonly membership: MembershipClient | null;
  #rows: RowSource | null = null;
  #dateMs = 0;
  #date = "";
  #drained: (() => void) | null = null;
  #drainTimer: ReturnType<typeof setTimeout> | undefined;
  #ended: Promise<void> | null = null;

  constructor(config: EdgeConfig, runtime: Runtime, log: Logger, accessLog: AccessLog, options: EdgeOptions) {
    this.#config = config;
    this.#runtime = runtime;
    this.#sharedPorts = options.sharedPorts ?? false;
    this.#openRows = options.openRows;
    this.log = log;
    this.accessLog = accessLog;
    this.accessLines = new AccessLines(config.region);
    this.region = config.region;
    this.serverName = config.server_name;
    this.responseSignature =
      `Server: ${config.server_name}\r\nVia: 1.1 ${config.server_name}\r\nFly-Request-Id: `;
    this.limits = { ...LIMITS, ...options.limits };
    this.#http3Times = { ...HTTP3_TIMES, ...options.http3Times };
    this.holdWaitMsMax = options.holdWaitMsMax ?? holdWaitMsMax;
    this.holdWaitersMax = options.holdWaitersMax ?? holdWaitersPerServiceMax;
    this.requestIds = new RequestIds(config.region);
    this.keySets = new KeySets({
      nowMs: this.nowMs,
      privately: config.private_key_sets === true,
      counts: this.policyCounts,
      ...(options.keysCooldownMs === undefined ? {} : { cooldownMs: options.keysCooldownMs }),
    });
    this.hostId = config.host_id ?? null;
    const starts = config.worker_socket === undefined ? null : new Starts({
      door: new WorkerDoor(config.worker_socket),
      nowMs: this.nowMs,
      random: this.random,
      onRefused: (machineId) => this.routes.wake(`${this.hostId}/${machineId}`),
    });
    this.starts = starts;
    const peerStarts = config.peers === undefined ? null : new Starts<PeerDoorway>({
      door: new PeerDoor((machine, port) =>
        this.peers?.value({
          machine,
          port,
          final: true,
          start: true,
          request_id: this.requestIds.next(this.wallMs()),
          fields: "",
        }) ?? null
      ),
      nowMs: this.nowMs,
      random: this.random,
      onRefused: (machineId, { host }) => this.routes.wake(`${host}/${machineId}`),
    });
    this.peerStarts = peerStarts;
    // One of several workers does not see the others' connections, so it must take no machine for idle.
    const stops = options.sharedPorts !== true;
    this.autostop = !stops || config.worker_socket === undefined || config.host_id === undefined
      ? null
      : new AutostopPass({
        routes: () => this.routes,
        door: new WorkerDoor(config.worker_socket),
        hostId: config.host_id,
        wallMs: this.wallMs,
        random: this.random,
      });
    this.membership = config.membership_socket === undefined ? null : new MembershipClient({
      socket: config.membership_socket,
      ownHostId: this.hostId,
      onDead: (hosts) => this.routes.setDeadHosts(hosts),
      random: this.random,
      log,
    });
    this.routes = this.#table({
      wallMs: this.wallMs,
      ...(starts === null && peerStarts === null ? {} : {
        onStart: ({ id }, started) => {
          starts?.rowSaid(id, started);
          peerStarts?.rowSaid(id, started);
        },
      }),
    });
    this.relay = {
      region: config.region,
      limits: this.limits,
      sockets: runtime.sockets,
      deadlines: this.deadlines,
      clients: new Set(),
      draining: false,
      awaitsIdle: false,
      nowMs: this.nowMs,
      handler: {
        serve: (exchange) => serve(this, exchange),
        serveTunnel: (exchange) => serveTunnel(this, exchange),
        refuse: (exchange, why) => refuse(this, exchange, why),
        failed: (exchange, failure) => failed(this, exchange, failure),
        connected: (exchange) => connected(this, exchange),
        received: (exchange, head) => received(this, exchange, head),
        finished: (exchange) => {
          finished(this, exchange);
          if (this.relay.draining) this.#checkDrained();
        },
        clientOpened: ({ admin }, refused) => {
          if (admin) return;
          this.metrics.connects++;
          if (refused) this.metrics.connectionsDropped++;
        },
        limitMet: (limit) => this.metrics.limitMet(limit),
        clientClosed: ({ admin }) => {
          if (!admin) this.metrics.disconnects++;
          if (this.relay.draining) this.#checkDrained();
        },
        fault: (error) => this.#fault(error),
        responseFields: (exchange, hasDate) => responseFields(this, exchange, hasDate),
      },
    };
    this.metrics = new Metrics({
      connections: () => this.relay.clients.size,
      logLinesDropped: () => accessLog.dropped,
      replica: () => this.#replicaCounts(),
      policies: this.policyCounts,
    });
    this.balance.register(this.metrics.registry, this.starts, this.peerStarts, this.autostop);
    this.membership?.register(this.metrics.registry);
    this.replays.register(this.metrics.registry);
    this.tls = new TlsFront({
      config: config.tls ?? {},
      limits: options.handshakeLimits ?? {},
      log,
      nowMs: this.nowMs,
      wallMs: this.wallMs,
      optionsOf: (name, port) => this.routes.find(name)?.services.get(port)?.policy?.tls ?? null,
    });
    this.tls.counts.register(this.metrics.registry, () => this.tls.sizes());
    this.adminPages = adminPages({
      edgeId: config.edge_id,
      region: config.region,
      rows: () => this.#rows,
      routes: this.routes,
      metrics: () => this.metrics,
      hostId: this.hostId,
      starts: this.starts,
      limits: this.limits,
      holdWaitersMax: this.holdWaitersMax,
      holdWaitMsMax: this.holdWaitMsMax,
      wallMs: () => Date.now(),
      tableAt: (atMs) => this.#table({ wallMs: () => atMs, distances: this.routes.distances }),
      listeners: () => this.#appListeners,
      random: this.random,
      nowMs: this.nowMs,
      draining: () => this.relay.draining,
    });
    this.app = decisionApp(this.adminPages, (host, token) => this.tls.acme.http(host, token));
  }

  #table(more: Pick<RouteTableOptions, "wallMs" | "onStart" | "distances">): RouteTable {
    const { region, peers } = this.#config;
    return new RouteTable({
      ...{ region, hostId: this.hostId, usesPeers: peers !== undefined, nowMs: this.nowMs },
      policies: { limits: this.limits, keySets: this.keySets, counts: this.policyCounts },
      ...more,
    });
  }

  /** Ports as bound, in the order of the configuration; then the admin's, then the peers'. For configurations that say 0 in tests. */
  get ports(): number[] {
    return this.#listeners.map((listener) => listener.port);
  }

  /** In the order in which they were bound; `at` is `ADDRESS:PORT`. */
  get listeners(): readonly (Listener & { readonly at: string })[] {
    return this.#listeners;
  }

  get rows(): RowSource {
    return this.#rows!;
  }

  async start(): Promise<void> {
    const config = this.#config;
    const { peers } = config;
    if (peers !== undefined) this.peers = await openPeers(peers.secret_file);
    const open = this.#openRows ?? ((host: RowSourceHost) => openRows(config, host));
    this.#rows = open({
      runtime: this.#runtime,
      log: this.log,
      onChanges: (changes) => this.#apply(changes),
      heldKeys: (table) =>
        table === "certificates" || table === "acme_answers" ? this.tls.keys(table) : this.routes.keys(table),
      nowMs: () => performance.now(),
      random: this.random,
    });
    // An edge that listens before it knows its routes would answer 404 for apps that are there.
    await this.#rows.start();
    this.deadlines.start(loopClock);
    this.autostop?.start();
    this.membership?.start();
    if (config.listeners.some(({ tls }) => tls)) await this.tls.load();
    for (const listener of config.listeners) {
      const { address, port, service_port, h2c, tls, http2, http3, app, proxy_protocol } = listener;
      const info: ListenerInfo = {
        servicePort: service_port,
        admin: false,
        tls: tls ?? false,
        h2c: h2c ?? false,
        http2: http2 ?? true,
        address,
        ...(app === undefined ? {} : { app }),
        proxyProtocol: proxy_protocol ?? false,
      };
      const alternative = http3 === undefined || tls !== true
        ? null
        : await this.#listenHttp3(address, http3, info);
      await this.#listen(address, port, alternative === null ? info : { ...info, alternative });
    }
    if (config.admin !== null) {
      await this.#listen(config.admin.address, config.admin.port, {
        servicePort: 0,
        admin: true,
        tls: false,
      });
    }
    if (peers !== undefined && peers.listen !== null) {
      const { address, port } = peers.listen;
      await this.#listen(address, port, { servicePort: 0, admin: false, tls: false, peer: true });
    }
    this.log.info({ ports: this.ports, routes: this.routes.sizes }, "edge listening");
  }

  #apply(changes: readonly RowChange[]): void {
    this.tls.apply(changes);
    this.routes.apply(changes);
    if (this.http3.length > 0 && changes.some(({ table }) => table === "certificates")) {
      for (const front of this.http3) front.certificatesChanged();
    }
  }

  async #listenHttp3(
    address: string,
    ports: readonly [number, number],
    listener: ListenerInfo,
  ): Promise<Http3Front | null> {
    const { http3 } = this.#runtime;
    if (http3 === null) {
      this.log.warn({ runtime: this.#runtime.name }, "this runtime has no HTTP/3");
      return null;
    }
    if (this.#sharedPorts) {
      // The kernel knows no connections of QUIC: their packets would reach any of the workers.
      this.log.warn("an edge with workers has no HTTP/3");
      return null;
    }
    const { certificates } = this.tls;
    const front = new Http3Front({
      context: this.relay,
      port: http3,
      listener,
      address,
      ports,
      log: this.log,
      certificates,
      times: this.#http3Times,
    });
    await front.start();
    this.http3.push(front);
    return front;
  }

  async #listen(address: string, port: number, info: ListenerInfo): Promise<void> {
    const http1 = (serverName: string | null = null) => new ClientConnection(this.relay, info, serverName);
    const http2 = (serverName: string | null = null) => new FrontConnection(this.relay, info, serverName);
    const tunnel = (serverName: string | null) => this.#tunnel(info, serverName);
    const { tls, h2c, app, servicePort } = info;
    const services = { servicePort, http1, http2: info.http2 === false ? null : http2, tunnel };
    let accept: () => SocketEvents = () => http1();
    if (tls) accept = () => new AcceptTls(this.relay, this.tls, services);
    else if (app !== undefined) accept = () => new TcpConnection(this.relay, info, app);
    else if (h2c === true) accept = () => new ChooseProtocol(this.relay, http1, http2);
    if (info.proxyProtocol === true) {
      const proxied = accept;
      accept = () => new AcceptProxied(this.relay, info, proxied);
    }
    const listener = await this.#runtime.sockets.listen({ address, port, shared: this.#sharedPorts }, accept);
    this.#listeners.push({
      port: listener.port,
      at: `${address}:${listener.port}`,
      stop: () => listener.stop(),
      steer: (program) => listener.steer(program),
    });
    if (!info.admin) this.#appListeners.push({ port: listener.port, servicePort: info.servicePort });
  }

  /** Who takes a TLS connection that carries bytes and no requests; null where it carries requests. */
  #tunnel(info: ListenerInfo, serverName: string | null): (() => TcpConnection) | null {
    let host = info.app ?? null;
    if (host === null && serverName !== null) {
      const service = this.routes.find(serverName)?.services.get(info.servicePort);
      if (service?.policy?.tunnel === true) host = serverName;
    }
    if (host === null) return null;
    const name = host;
    return () => new TcpConnection(this.relay, info, name, serverName);
  }

  /**
   * Another process has taken over: accepts no more, and lets clients go on as they were. An idle connection is closed after
   * its next response, or at its own limit, because to close it now could meet a request that is on its way; tunnels live
   * for at most `drainMsMax`.
   */
  retire(drainMsMax: number): Promise<void> {
    this.relay.awaitsIdle = true;
    return this.#drain(drainMsMax);
  }

  /** Accepts no more, lets running requests finish for at most `drainMsMax`, then closes what is left. */
  stop(drainMsMax: number = DRAIN_MS_MAX): Promise<void> {
    this.relay.awaitsIdle = false;
    return this.#drain(drainMsMax);
  }

  /** A second call is for an edge that was retired and is now to stop: its limit counts. */
  #drain(drainMsMax: number): Promise<void> {
    this.relay.draining = true;
    this.#ended ??= this.#end();
    for (const client of [...this.relay.clients]) client.closeIfIdle();
    clearTimeout(this.#drainTimer);
    this.#drainTimer = setTimeout(() => this.#drained?.(), drainMsMax);
    this.#checkDrained();
    return this.#ended;
  }

  async #end(): Promise<void> {
    for (const listener of this.#listeners) listener.stop();
    await new Promise<void>((resolve) => this.#drained = resolve);
    clearTimeout(this.#drainTimer);
    for (const client of [...this.relay.clients]) client.close();
    this.deadlines.stop();
    this.autostop?.stop();
    this.membership?.stop();
    await this.#rows?.stop();
    await this.accessLog.close();
    await this.tracing?.close();
  }

  #fault(error: unknown): void {
    this.metrics.faults++;
    this.log.error({ err: error }, "a fault of ours ended a connection");
  }

  #checkDrained(): void {
    for (const client of this.relay.clients) if (this.relay.awaitsIdle || client.busy) return;
    this.#drained?.();
  }

  /** IMF-fixdate, made once a second. */
  httpDate(): string {
    const nowMs = this.wallMs();
    if (nowMs - this.#dateMs >= 1_000 || nowMs < this.#dateMs) {
      this.#dateMs = nowMs - nowMs % 1_000;
      this.#date = new Date(nowMs).toUTCString();
    }
    return this.#date;
  }

  #replicaCounts() {
    const status = this.#rows?.status();
    const { hostnames, apps, machines } = this.routes.sizes;
    return {
      rows: hostnames + apps + machines,
      quarantined: status?.quarantined ?? 0,
      staleMs: status?.stale_ms ?? 0,
      gaps: status?.gaps ?? 0,
      connected: status?.connected ?? false,
      restarts: status?.restarts ?? {},
      queries: queryOutcomes(status?.details ?? {}),
      stale: status?.stale ?? false,
      lagMs: status?.replica?.lag_ms ?? 0,
      behindMs: status?.replica?.behind_ms ?? 0,
      silentMs: status?.replica?.silent_ms ?? 0,
      incidents: status?.replica?.incidents ?? 0,
      bootstraps: status?.replica?.bootstraps ?? 0,
      digestsDiffering: status?.replica?.digests_differing ?? 0,
    };
  }
}

/** Opens the access log, starts an edge and returns it listening. */
export async function startEdge(
  config: EdgeConfig,
  runtime: Runtime,
  log: Logger,
  options: EdgeOptions = {},
): Promise<Edge> {
  const accessLog = await AccessLog.open(config.access_log);
  const edge = new Edge(config, runtime, log, accessLog, options);
  if (config.tracing !== undefined) {
    const { Tracing } = await import("./trace/tracing.ts");
    const { edge_id: edgeId, region, tracing } = config;
    edge.tracing = new Tracing({ config: tracing, edgeId, region, registry: edge.metrics.registry });
  }
  await edge.start();
  return edge;
}

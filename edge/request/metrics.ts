/**
 * The edge's metrics, with the reference's names where it has one (section 1.8). Requests count in plain numbers, and
 * prom-client reads those when somebody asks: looking up labels on each request would cost more than the routing.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { HTTP2_LIMITS } from "../http2/flood-guard.ts";
import { CountedApps } from "./app-counts.ts";
import type { PolicyCounts } from "../policy/policy-counts.ts";
import type { Exchange } from "./exchange.ts";
import { bucketOf, family, Histogram, type Sample } from "./histogram.ts";

export interface ReplicaSample {
  readonly rows: number;
  readonly quarantined: number;
  readonly staleMs: number;
  readonly gaps: number;
  readonly connected: boolean;
  readonly restarts: Readonly<Record<string, number>>;
  readonly queries: Readonly<Record<string, number>>;
  readonly stale: boolean;
  readonly lagMs: number;
  readonly behindMs: number;
  readonly silentMs: number;
  readonly incidents: number;
  readonly bootstraps: number;
  readonly digestsDiffering: number;
}

export interface MetricSources {
  connections(): number;
  replica(): ReplicaSample;
  logLinesDropped(): number;
  readonly policies: PolicyCounts;
}

/** Bounds that are met without a refusal; on the page from the start, so that a rate can be taken. */
const LIMITS_MET = [
  "interim_responses",
  "linger_bytes",
  "proxy_headers",
  "upstream_idle_connections",
  "http3_left_open",
  ...HTTP2_LIMITS.map((kind) => `http2_${kind}`),
];

export class Metrics {
  readonly registry = new Registry();
  readonly apps: CountedApps;
  /** By status: how many, and how long they took. */
  readonly #times: Histogram[] = [];
  readonly #codes = new Map<string, number>();
  readonly #limits = new Map<string, number>(LIMITS_MET.map((limit) => [limit, 0]));
  /** Connections that ended because code of ours threw. Anything but 0 is a bug. */
  faults = 0;
  /** Clients' connections to apps. */
  connects = 0;
  disconnects = 0;
  connectionsDropped = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    this.apps = new CountedApps(this.registry);
    const times = "fly_edge_http_response_time_seconds";
    family(
      this.registry,
      "counter",
      "fly_edge_http_responses_count",
      "Responses by status.",
      () => this.#byStatus((status, { count }) => [{ labels: { status }, value: count }]),
    );
    family(
      this.registry,
      "histogram",
      times,
      "From the request's head to the response's last byte.",
      () => this.#byStatus((status, histogram) => histogram.samples(times, { status })),
    );
    const counted = (name: string, help: string, label: string, values: ReadonlyMap<string, number>) =>
      family(
        this.registry,
        "counter",
        name,
        help,
        () => Array.from(values, ([value, count]) => ({ labels: { [label]: value }, value: count })),
      );
    counted("godwit_edge_refusals_count", "Answers of the edge's own, by code.", "code", this.#codes);
    counted("godwit_edge_limit_met_count", "Times that a bound of the edge was met.", "limit", this.#limits);
    const total = (name: string, help: string, read: () => number) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    total("fly_edge_data_in", "Bytes of request bodies and tunnels.", () => this.#bytesIn);
    total("fly_edge_data_out", "Bytes of response bodies and tunnels.", () => this.#bytesOut);
    total(
      "godwit_edge_log_lines_dropped",
      "Access log lines that the disk did not take.",
      sources.logLinesDropped,
    );
    total("fly_edge_tcp_connects_count", "Clients' connections.", () => this.connects);
    total("fly_edge_tcp_disconnects_count", "Clients' connections that ended.", () => this.disconnects);
    total(
      "fly_edge_tcp_connections_drop_count",
      "Clients' connections refused because there were as many as allowed.",
      () => this.connectionsDropped,
    );
    total(
      "godwit_edge_apps_unnamed",
      "Apps that are counted as _other because all labels are given away.",
      () => this.apps.unnamed,
    );
    total("godwit_edge_faults", "Connections ended by a fault of the edge itself.", () => this.faults);
    total(
      "godwit_edge_compressions_skipped",
      "Responses left as they were because as many as allowed were being compressed.",
      () => sources.policies.compressionsSkipped,
    );
    total(
      "godwit_edge_rate_limits_forgotten",
      "Times that clients' rates were forgotten because a service had too many of them.",
      () => sources.policies.rateLimitsForgotten,
    );
    total(
      "godwit_edge_key_sets_forgotten",
      "Key sets let go because services name too many.",
      () => sources.policies.keySetsForgotten,
    );
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    gauge("godwit_edge_compressions", "Responses being compressed.", () => sources.policies.compressions);
    gauge("godwit_edge_connections", "Open client connections.", sources.connections);
    gauge("godwit_replica_rows", "Live rows of the replica.", () => sources.replica().rows);
    gauge(
      "godwit_replica_quarantined",
      "Events refused since the start.",
      () => sources.replica().quarantined,
    );
    gauge("godwit_replica_stale_ms", "Since Redis last answered.", () => sources.replica().staleMs);
    gauge(
      "godwit_replica_gaps",
      "Times that a stream was read again from its start.",
      () => sources.replica().gaps,
    );
    gauge("godwit_replica_connected", "1 while Redis answers.", () => sources.replica().connected ? 1 : 0);
    family(
      this.registry,
      "counter",
      "godwit_replica_restarts",
      "Replicators that were replaced, by reason.",
      () => {
        const { restarts } = sources.replica();
        return Object.entries(restarts).map(([reason, value]) => ({ labels: { reason }, value }));
      },
    );
    family(
      this.registry,
      "counter",
      "godwit_replica_queries",
      "Queries of the replica by what became of them, and times that a bound of theirs was met.",
      () =>
        Object.entries(sources.replica().queries).map(([outcome, value]) => ({ labels: { outcome }, value })),
    );
    gauge(
      "godwit_replica_stale",
      "1 while what is here is older than configured.",
      () => sources.replica().stale ? 1 : 0,
    );
    gauge(
      "godwit_replica_lag_ms",
      "From the owner's commit to the replica, of the newest row.",
      () => sources.replica().lagMs,
    );
    gauge(
      "godwit_replica_behind_ms",
      "Since the replica had taken all that there was.",
      () => sources.replica().behindMs,
    );
    gauge(
      "godwit_replica_silent_ms",
      "Since the newest that any owner of rows said.",
      () => sources.replica().silentMs,
    );
    gauge(
      "godwit_replica_incidents",
      "Times that the replica found itself wrong.",
      () => sources.replica().incidents,
    );
    gauge(
      "godwit_replica_bootstraps",
      "Generations that took over.",
      () => sources.replica().bootstraps,
    );
    gauge(
      "godwit_replica_digests_differing",
      "Owners whose newest digest differs from what is here.",
      () => sources.replica().digestsDiffering,
    );
  }

  #byStatus(samples: (status: string, times: Histogram) => Sample[]): Sample[] {
    return this.#times.flatMap((times, status) => samples(String(status), times));
  }

  /** A bound was met that ends in no refusal (those count by their code). Not for the hot path. */
  limitMet(limit: string): void {
    this.#limits.set(limit, (this.#limits.get(limit) ?? 0) + 1);
  }

  observe(exchange: Exchange, seconds: number): void {
    const { status, code, app, bytesIn, bytesOut } = exchange;
    const bucket = bucketOf(seconds);
    const responded = exchange.client.protocol !== "tcp";
    if (responded) (this.#times[status] ??= new Histogram()).add(bucket, seconds);
    if (code !== null) this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
    this.#bytesIn += bytesIn;
    this.#bytesOut += bytesOut;
    if (app === null) return;
    const counts = app.counts ?? this.apps.of(app);
    if (responded) counts.response(status, bucket, seconds);
    counts.bytesIn += bytesIn;
    counts.bytesOut += bytesOut;
  }
}

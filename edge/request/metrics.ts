/**
 * The edge's metrics, with the reference's names where it has one (section 1.8). Requests count in plain numbers, and
 * prom-client reads those when somebody asks: looking up labels on each request would cost more than the routing.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { Exchange } from "./exchange.ts";

/** Upper bounds in seconds; the last bucket is everything. */
export const TIME_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export interface MetricSources {
  connections(): number;
  replica(): { rows: number; quarantined: number; staleMs: number; gaps: number; connected: boolean };
  logLinesDropped(): number;
}

export class Metrics {
  readonly registry = new Registry();
  readonly #statuses = new Map<number, number>();
  readonly #codes = new Map<string, number>();
  readonly #buckets = new Float64Array(TIME_BUCKETS_S.length + 1);
  /** Connections that ended because code of ours threw. Anything but 0 is a bug. */
  faults = 0;
  #seconds = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    const counted = (name: string, help: string, label: string, values: Map<string | number, number>) =>
      new Counter({
        name,
        help,
        labelNames: [label],
        registers,
        collect() {
          this.reset();
          for (const [value, count] of values) this.inc({ [label]: String(value) }, count);
        },
      });
    counted("fly_edge_http_responses_count", "Responses by status.", "status", this.#statuses);
    counted("fly_edge_refusals_count", "Answers of the edge's own, by code.", "code", this.#codes);
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
    total("godwit_edge_faults", "Connections ended by a fault of the edge itself.", () => this.faults);
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
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
    this.#registerTimes();
  }

  /** A histogram whose buckets are already counted; prom-client can only count them itself. */
  #registerTimes(): void {
    const name = "fly_edge_http_response_time_seconds";
    const metric = {
      name,
      get: () => {
        let count = 0;
        const values = [...TIME_BUCKETS_S, "+Inf"].map((le, i) => {
          count += this.#buckets[i]!;
          return { value: count, labels: { le }, metricName: `${name}_bucket` };
        });
        return Promise.resolve({
          name,
          help: "From the request's head to the response's last byte.",
          type: "histogram",
          aggregator: "sum",
          values: [
            ...values,
            { value: this.#seconds, labels: {}, metricName: `${name}_sum` },
            { value: count, labels: {}, metricName: `${name}_count` },
          ],
        });
      },
    };
    this.registry.registerMetric(metric as unknown as Counter);
  }

  observe(exchange: Exchange, seconds: number): void {
    this.#statuses.set(exchange.status, (this.#statuses.get(exchange.status) ?? 0) + 1);
    if (exchange.code !== null) this.#codes.set(exchange.code, (this.#codes.get(exchange.code) ?? 0) + 1);
    let bucket = 0;
    while (bucket < TIME_BUCKETS_S.length && seconds > TIME_BUCKETS_S[bucket]!) bucket++;
    this.#buckets[bucket]!++;
    this.#seconds += seconds;
    this.#bytesIn += exchange.bytesIn;
    this.#bytesOut += exchange.bytesOut;
  }
}

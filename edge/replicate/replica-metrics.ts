/** A replica's status as Prometheus reads it (text format 0.0.4). Pure. Names as on an edge's own page where it has them. */
import { queryOutcomes } from "../query/query-outcomes.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";
import { Exposition, labelled } from "./exposition.ts";

export function replicaMetrics(status: RowSourceStatus): string {
  const { connected, stale_ms, quarantined, gaps, details } = status;
  const figures = new Exposition();
  figures.one("godwit_replica_connected", "gauge", "1 while Redis answers.", connected ? 1 : 0);
  figures.one("godwit_replica_stale_ms", "gauge", "Since Redis last answered.", stale_ms);
  const silentMs = status.replica?.silent_ms ?? null;
  figures.one("godwit_replica_silent_ms", "gauge", "Since the newest that any owner of rows said.", silentMs);
  const isStale = status.stale === true ? 1 : 0;
  figures.one("godwit_replica_stale", "gauge", "1 while what is here is older than configured.", isStale);
  figures.one("godwit_replica_quarantined", "gauge", "Events refused since the start.", quarantined);
  figures.one("godwit_replica_gaps", "gauge", "Times that a stream was read again from its start.", gaps);
  const tables = countsOf(details.tables, (table) => table.rows);
  figures.family("godwit_replica_rows", "gauge", "Live rows by table.", labelled("table", tables));
  const tombstones = countsOf(details.tables, (table) => table.tombstones);
  figures.family(
    "godwit_replica_tombstones",
    "gauge",
    "Deleted rows remembered, by table.",
    labelled("table", tombstones),
  );
  const reasons = countsOf(details.events_quarantined, (count) => count);
  figures.family(
    "godwit_replica_events_quarantined",
    "counter",
    "Events refused, by reason.",
    labelled("reason", reasons),
  );
  figures.one(
    "godwit_replica_events_applied",
    "counter",
    "Events that changed a row.",
    number(details.events_applied),
  );
  figures.one(
    "godwit_replica_events_old",
    "counter",
    "Events that came again or too late.",
    number(details.events_old),
  );
  figures.one(
    "godwit_replica_reconnects",
    "counter",
    "Connections to Redis that ended.",
    number(details.reconnects),
  );
  figures.one(
    "godwit_replica_lag_ms",
    "gauge",
    "From the owner's commit to being applied here, of the newest event.",
    number(details.last_lag_ms),
  );
  const outcomes = Object.entries(queryOutcomes(details));
  if (outcomes.length > 0) {
    const help = "Queries of the replica by what became of them, and times that a bound of theirs was met.";
    figures.family("godwit_replica_queries", "counter", help, labelled("outcome", outcomes));
  }
  return figures.text;
}

/** What does not stand there is left out: a replica may know more of itself, or less. */
function countsOf(of: unknown, count: (value: Record<string, unknown>) => unknown): [string, number][] {
  if (typeof of !== "object" || of === null) return [];
  return Object.entries(of).flatMap(([name, value]) => {
    const found = number(count(value));
    return found === null ? [] : [[name, found] as [string, number]];
  });
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

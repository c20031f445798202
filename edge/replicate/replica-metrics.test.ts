import { expect, test } from "bun:test";
import { readExposition } from "../admin/exposition.fixture.ts";
import { replicaMetrics } from "./replica-metrics.ts";

test("replicaMetrics() is a page that Prometheus reads, with what the replica knows of itself", () => {
  const page = readExposition(replicaMetrics({
    ...{ from: "redis", connected: true, stale_ms: 12, quarantined: 3, gaps: 1 },
    details: {
      tables: { apps: { rows: 2, tombstones: 1 }, hostnames: { rows: 5, tombstones: 0 } },
      events_quarantined: { invalid_row: 3 },
      queries: { pid: 1, queries: 9, refused: 2, killed: 1, cut_off: 0, breaths: 0, watchers: 3 },
      ...{ events_applied: 8, events_old: 0, reconnects: 0, last_lag_ms: null },
    },
  }));
  expect(page.get("godwit_replica_rows")?.samples.map(({ labels, value }) => [labels.table, value])).toEqual([
    ["apps", 2],
    ["hostnames", 5],
  ]);
  expect(page.get("godwit_replica_events_quarantined")?.samples[0]).toMatchObject({
    labels: { reason: "invalid_row" },
    value: 3,
  });
  expect(page.get("godwit_replica_queries")?.samples.map(({ labels, value }) => [labels.outcome, value]))
    .toEqual([
      ["taken", 9],
      ["refused", 2],
      ["killed", 1],
      ["cut_off", 0],
      ["breaths", 0],
    ]);
  expect(page.get("godwit_replica_connected")?.samples[0]?.value).toBe(1);
  expect(page.has("godwit_replica_lag_ms")).toBe(false);
});

test("replicaMetrics() leaves out what a replica that has not begun does not say", () => {
  const page = replicaMetrics({
    ...{ from: "redis", connected: false, stale_ms: null, quarantined: 0, gaps: 0, details: {} },
  });
  expect(page).toContain("godwit_replica_connected 0\n");
  expect(page).not.toContain("stale_ms");
  expect(page).not.toContain("queries");
});

/**
 * Why a request would have gone where it would have gone: the rows that it touches as they were at a time, put into a
 * route table of their own, and the same explanation made from that. What no row says is said to be unknown.
 */
import type { Explanation } from "../../control/contract/explanation.ts";
import type { AppRow, HostnameRow, HostRow, MachineRow, TableName } from "../../control/contract/rows.ts";
import { hostName } from "../relay/host-name.ts";
import type { PastRows } from "../replica/row-history.ts";
import { hostnameKeys, type RouteTable, type RowChange } from "../routes/route-table.ts";
import { explain, type ExplainSources, MACHINES_EXPLAINED_MAX, type Question } from "./explain.ts";

export interface ExplainAtSources extends ExplainSources {
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** An empty one that stands at a time in the past. */
  readonly tableAt: (atMs: number) => RouteTable;
}

type Past = NonNullable<Explanation["past"]>;

/** Rows say none of this. */
const NEVER_KNOWN = [
  "how loaded machines were, and which the edge passed over because they had failed or their hosts were dead",
  "how far other regions were: distances are today's",
];

export function explainAt(
  sources: ExplainAtSources,
  rows: PastRows,
  question: Question,
  atMs: number,
): Explanation {
  const past: Past = { at_ms: atMs, reaches_to_ms: rows.reachesToMs(), unknown: [...NEVER_KNOWN], rows: [] };
  const table = sources.tableAt(atMs);
  /** @returns the row; null where it was deleted, is not known, or was not there */
  const take = <Row>(name: RowChange["table"], key: string): Row | null => {
    const then = rows.rowAt(name, key, atMs);
    if (then === null) {
      if (!rows.isStored(name, key)) return null;
      past.rows.push({ table: name, key, state: "unknown", version: null, applied_ms: null, row: null });
      past.unknown.push(`${name} ${key}: it has changed since, and what it was is not remembered`);
      return null;
    }
    const { version, applied_ms, row } = then;
    past.rows.push({ table: name, key, state: row === null ? "deleted" : "live", version, applied_ms, row });
    if (row !== null) table.apply([{ table: name, key, row } as RowChange]);
    return row as Row | null;
  };

  const appId = appOf(question.url, take);
  if (appId !== null) {
    take<AppRow>("apps", appId);
    const hosts = new Set<string>();
    for (const key of machineKeys(sources, rows, appId)) {
      const machine = take<MachineRow>("machines", key);
      if (machine !== null) hosts.add(machine.host_id);
    }
    for (const host of hosts) take<HostRow>("hosts", host);
  }
  const beyond = beyondReach(past);
  if (beyond !== null) past.unknown.push(beyond);

  const origin = (name: TableName, key: string) => {
    const found = past.rows.find((each) => each.table === name && each.key === key);
    if (found?.version == null) return null;
    return { owner: ownerOf(name, key), version: found.version, published_ms: found.applied_ms! };
  };
  const explanation = explain({ ...sources, routes: table, rows: () => ({ origin }) }, question);
  return { ...explanation, past };
}

/** By the host name or pattern that counted then. */
function appOf(
  url: URL,
  take: (table: "hostnames", key: string) => HostnameRow | null,
): string | null {
  const host = hostName(url.host);
  for (const key of host === null ? [] : hostnameKeys(host)) {
    const row = take("hostnames", key);
    if (row !== null) return row.app_id;
  }
  return null;
}

/** Those of today, and those that the history names; the same bound as for what is shown. */
function machineKeys(sources: ExplainSources, rows: PastRows, appId: string): string[] {
  return [...new Set([...sources.routes.machineKeysOf(appId), ...rows.machineKeysOf(appId)])].slice(
    0,
    MACHINES_EXPLAINED_MAX,
  );
}

function beyondReach({ at_ms, reaches_to_ms }: Past): string | null {
  if (reaches_to_ms === null) {
    return "what has changed since: this edge's replica keeps no history (`history` in its `rows`)";
  }
  return at_ms >= reaches_to_ms ? null : "what was changed or deleted before the history begins";
}

/** Who may write a key is who has written it. */
function ownerOf(table: TableName, key: string): string {
  if (table !== "machines" && table !== "hosts") return "api";
  return `worker:${table === "machines" ? key.slice(0, key.indexOf("/")) : key}`;
}

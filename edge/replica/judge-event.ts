/** Decides about one stream entry: apply, skip or quarantine. Pure; a bad event stops nothing. */
import { EVENT_BYTES_MAX, EVENT_SCHEMA, StateEvent } from "../../control/contract/events.ts";
import { keyOf, ownerMayWrite, type RowOf, type TableName, TABLES } from "../../control/contract/rows.ts";
import type { ValidEvent } from "./replica-store.ts";

export type Judgement =
  | { readonly verdict: "apply"; readonly valid: ValidEvent; readonly unknownColumns: number }
  | { readonly verdict: "skip"; readonly table: string }
  | { readonly verdict: "quarantine"; readonly reason: QuarantineReason; readonly detail: string };

export type QuarantineReason =
  | "oversize"
  | "not_json"
  | "unknown_schema"
  | "invalid_event"
  | "wrong_owner"
  | "invalid_row"
  | "wrong_key"
  | "wrong_stream";

const quarantine = (reason: QuarantineReason, detail: string): Judgement => ({
  verdict: "quarantine",
  reason,
  detail,
});

/** @param stream the stream's scope: `global`, or a region's code */
export function judgeEvent(json: string, stream: string): Judgement {
  // Length in UTF-16 units is at most the length in bytes, so the cheap test comes first.
  if (json.length > EVENT_BYTES_MAX || Buffer.byteLength(json) > EVENT_BYTES_MAX) {
    return quarantine("oversize", `more than ${EVENT_BYTES_MAX} bytes`);
  }
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (error) {
    return quarantine("not_json", String(error));
  }
  const schema = typeof raw === "object" && raw !== null ? (raw as { schema?: unknown }).schema : undefined;
  if (schema !== EVENT_SCHEMA) return quarantine("unknown_schema", `schema ${JSON.stringify(schema)}`);
  const parsed = StateEvent.safeParse(raw);
  if (!parsed.success) return quarantine("invalid_event", firstIssue(parsed.error));
  const event = parsed.data;
  if (!Object.hasOwn(TABLES, event.table)) return { verdict: "skip", table: event.table };
  const table = event.table as TableName;
  if (!ownerMayWrite(event.owner, table, event.key)) {
    return quarantine("wrong_owner", `${event.owner} may not write ${table} ${event.key}`);
  }
  const isGlobal = stream === "global";
  if ((TABLES[table].scope === "global") !== isGlobal) {
    return quarantine("wrong_stream", `${table} does not travel on ${stream}`);
  }
  if (event.row === null) return { verdict: "apply", valid: { table, event }, unknownColumns: 0 };
  const row = TABLES[table].row.safeParse(event.row);
  if (!row.success) return quarantine("invalid_row", firstIssue(row.error));
  const key = keyOf(table, row.data as RowOf<TableName>);
  if (key !== event.key) return quarantine("wrong_key", `the row's key is ${key}, the event's ${event.key}`);
  const region = (row.data as { region?: string }).region;
  if (region !== undefined && region !== stream) {
    return quarantine("wrong_stream", `the row's region is ${region}, the stream's ${stream}`);
  }
  const unknownColumns = Object.keys(event.row).length - Object.keys(row.data).length;
  return {
    verdict: "apply",
    valid: { table, event: { ...event, row: row.data } },
    unknownColumns: Math.max(0, unknownColumns),
  };
}

function firstIssue(error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] }): string {
  const [issue] = error.issues;
  return issue === undefined ? "invalid" : `${issue.path.map(String).join(".")}: ${issue.message}`;
}

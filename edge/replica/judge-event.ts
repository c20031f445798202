/** Decides about the events of one stream entry: apply, skip or quarantine. Pure; a bad event stops nothing. */
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  EVENT_BYTES_MAX,
  EVENT_SCHEMA,
  StateEvent,
} from "../../control/contract/events.ts";
import { keyOf, ownerMayWrite, type RowOf, type TableName, TABLES } from "../../control/contract/rows.ts";
import { knownEvent, knownHostname, knownMachine } from "./known-shapes.ts";
import type { ValidEvent } from "./replica-store.ts";
import type { SignatureFault } from "./verify-entry.ts";

export type Judgement =
  | { readonly verdict: "apply"; readonly valid: ValidEvent; readonly unknownColumns: number }
  | { readonly verdict: "skip"; readonly table: string }
  | { readonly verdict: "quarantine"; readonly reason: QuarantineReason; readonly detail: string };

/** What was judged, as it came, and how. */
export interface Judged {
  readonly json: string;
  readonly judgement: Judgement;
}

export type QuarantineReason =
  | "oversize"
  | "not_json"
  | "unknown_schema"
  | "invalid_event"
  | "wrong_owner"
  | "invalid_row"
  | "wrong_key"
  | "wrong_stream"
  /** Of a digest. */
  | "invalid_digest"
  /** Of a whole entry (verify-entry.ts). */
  | SignatureFault;

const quarantine = (reason: QuarantineReason, detail: string): Judgement => ({
  verdict: "quarantine",
  reason,
  detail,
});

/** Rows of the contract are less than half as deep. */
const DEPTH_MAX = 32;

/** Each of a batch's events; a batch that is not one is judged as a whole. */
export function judgeBatch(payload: string, stream: string, owner: string): Judged[] {
  const whole = (judgement: Judgement): Judged[] => [{ json: payload, judgement }];
  // Length in UTF-16 units is at most the length in bytes, so the cheap test comes first.
  if (payload.length > BATCH_BYTES_MAX || Buffer.byteLength(payload) > BATCH_BYTES_MAX) {
    return whole(quarantine("oversize", `a batch of more than ${BATCH_BYTES_MAX} bytes`));
  }
  let events: unknown;
  try {
    events = JSON.parse(payload);
  } catch (error) {
    return whole(quarantine("not_json", String(error)));
  }
  if (!Array.isArray(events)) return whole(quarantine("invalid_event", "a batch is an array of events"));
  if (events.length > BATCH_EVENTS_MAX) {
    return whole(quarantine("oversize", `a batch of more than ${BATCH_EVENTS_MAX} events`));
  }
  return events.map((event) => {
    const atMost = bytesMax(event);
    // To make the text of such a thing takes seconds, or the stack.
    if (atMost === Infinity) {
      const judgement = quarantine("oversize", `nested more than ${DEPTH_MAX} deep`);
      return { json: "", judgement };
    }
    if (atMost <= EVENT_BYTES_MAX) {
      const judgement = judgeEvent(event, stream, owner);
      return { json: judgement.verdict === "quarantine" ? JSON.stringify(event) : "", judgement };
    }
    const json = JSON.stringify(event);
    const judgement = json.length > EVENT_BYTES_MAX || Buffer.byteLength(json) > EVENT_BYTES_MAX
      ? quarantine("oversize", `more than ${EVENT_BYTES_MAX} bytes`)
      : judgeEvent(event, stream, owner);
    return { json, judgement };
  });
}

/** As many bytes as its text can have, and often fewer: to make the text costs three times as much as this. */
function bytesMax(value: unknown, depth = 0): number {
  if (typeof value === "string") return 6 * value.length + 2;
  if (typeof value !== "object" || value === null) return 25;
  if (depth > DEPTH_MAX) return Infinity;
  let bytes = 2;
  if (Array.isArray(value)) { for (const each of value) bytes += 1 + bytesMax(each, depth + 1); }
  else {
    for (const name in value) {
      bytes += 6 * name.length + 4 + bytesMax((value as Record<string, unknown>)[name], depth + 1);
    }
  }
  return bytes;
}

/**
 * @param stream the stream's scope: `global`, or a region's code
 * @param owner the entry's
 */
export function judgeEvent(raw: unknown, stream: string, owner: string): Judgement {
  const schema = typeof raw === "object" && raw !== null ? (raw as { schema?: unknown }).schema : undefined;
  if (schema !== EVENT_SCHEMA) return quarantine("unknown_schema", `schema ${JSON.stringify(schema)}`);
  let event = knownEvent(raw);
  if (event === null) {
    const parsed = StateEvent.safeParse(raw);
    if (!parsed.success) return quarantine("invalid_event", firstIssue(parsed.error));
    event = parsed.data;
  }
  if (event.owner !== owner) return quarantine("wrong_owner", `${owner} speaks for ${event.owner}`);
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
  const known = table === "machines"
    ? knownMachine(event.row)
    : table === "hostnames"
    ? knownHostname(event.row)
    : null;
  const row = known === null
    ? TABLES[table].row.safeParse(event.row)
    : { success: true as const, data: known };
  if (!row.success) return quarantine("invalid_row", firstIssue(row.error));
  const key = keyOf(table, row.data as RowOf<TableName>);
  if (key !== event.key) return quarantine("wrong_key", `the row's key is ${key}, the event's ${event.key}`);
  const region = (row.data as { region?: string }).region;
  if (region !== undefined && region !== stream) {
    return quarantine("wrong_stream", `the row's region is ${region}, the stream's ${stream}`);
  }
  const unknownColumns = known === null ? Object.keys(event.row).length - Object.keys(row.data).length : 0;
  event.row = row.data;
  return { verdict: "apply", valid: { table, event }, unknownColumns: Math.max(0, unknownColumns) };
}

function firstIssue(error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] }): string {
  const [issue] = error.issues;
  return issue === undefined ? "invalid" : `${issue.path.map(String).join(".")}: ${issue.message}`;
}

/** godwit replica status | query SQL | watch SQL */
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { QueryLine, SubscriptionLine } from "../../contract/replica-queries.ts";
import { plainText } from "../plain-text.ts";
import { ReplicaClient } from "../replica-client.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";

export interface ReplicaFlags {
  readonly socket?: string;
  readonly param?: string[];
  readonly key?: string[];
}

const CELL_LENGTH_MAX = 60;
/** A replicator that is replaced is back within these. */
const RETRIES_MAX = 10;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5_000;

export async function replicaStatus(session: Session, flags: ReplicaFlags): Promise<void> {
  const page = await clientOf(session, flags).page();
  session.result(page, renderStatus(page));
}

export async function replicaQuery(session: Session, sql: string, flags: ReplicaFlags): Promise<void> {
  const rows: unknown[][] = [];
  let columns: string[] = [];
  let ended = false;
  const body = { sql, params: paramsOf(flags) };
  for await (const line of clientOf(session, flags).lines("/query", body, QueryLine)) {
    if ("columns" in line) columns = line.columns;
    else if ("row" in line) rows.push(line.row);
    else ended = true;
  }
  if (!ended) throw brokeOff();
  session.result({ columns, rows }, renderRows(columns, rows));
}

/** With --json the lines as they come (NDJSON), because a stream has no end. It goes on where it was broken off. */
export async function replicaWatch(session: Session, sql: string, flags: ReplicaFlags): Promise<void> {
  const client = clientOf(session, flags);
  const say = (text: string) => void process.stdout.write(`${text}\n`);
  let from: string | undefined;
  let columns: string[] = [];
  let rows: unknown[][] = [];
  const heard = (line: SubscriptionLine) => {
    if (session.flags.json) say(JSON.stringify(line));
    if ("columns" in line) [columns, rows] = [line.columns, []];
    else if ("row" in line) rows.push(line.row.values);
    else if ("snapshot" in line) {
      from = line.snapshot.cursor;
      if (!session.flags.json) say(renderRows(columns, rows));
      rows = [];
    } else if ("change" in line) {
      from = line.change.cursor;
      if (!session.flags.json) say(renderChange(columns, line.change, new Date()));
    }
  };
  for (let retries = 0;;) {
    const body = {
      ...{ sql, params: paramsOf(flags) },
      ...(flags.key === undefined ? {} : { key: flags.key }),
      ...(from === undefined ? {} : { from }),
    };
    try {
      for await (const line of client.lines("/subscribe", body, SubscriptionLine)) {
        retries = 0;
        heard(line);
      }
      throw brokeOff();
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error;
      if (error.code === "query.cursor_gone") {
        session.progress(
          "what changed meanwhile is not known any more; beginning with the rows as they are now",
        );
        from = undefined;
        continue;
      }
      // One that never answered is not waited for.
      if (!error.retryable || from === undefined || retries === RETRIES_MAX) throw error;
      await pause(Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** retries++));
    }
  }
}

function clientOf(session: Session, { socket }: ReplicaFlags): ReplicaClient {
  return new ReplicaClient(session.replicaSocket(socket));
}

/** What looks like a number is one: SQLite tells 1 from '1'. */
function paramsOf({ param = [] }: ReplicaFlags): (string | number)[] {
  return param.map((text) => /^-?\d{1,15}(?:\.\d+)?$/.test(text) ? Number(text) : text);
}

function brokeOff(): GodwitError {
  return new GodwitError("cli.unreachable", "The replica's answer broke off", {
    fault: "us",
    retryable: true,
    hint: "run the command again",
  });
}

/** Pure: for people. Columns of the same name get a number. */
export function renderRows(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const names = columns.map((name, at) => {
    const before = columns.slice(0, at).filter((each) => each === name).length;
    return before === 0 ? name : `${name} ${before + 1}`;
  });
  const cells = rows.map((row) => Object.fromEntries(names.map((name, at) => [name, cellOf(row[at])])));
  return table(cells, "no rows");
}

const MARKS = { insert: "+", update: "~", delete: "-" } as const;

/** Pure: for people. */
export function renderChange(
  columns: readonly string[],
  { kind, values }: { readonly kind: keyof typeof MARKS; readonly values: readonly unknown[] },
  at: Date,
): string {
  const cells = columns.map((name, index) => `${name}=${cellOf(values[index]) ?? "-"}`);
  return `${at.toISOString()} ${MARKS[kind]} ${cells.join("  ")}`;
}

function cellOf(value: unknown): string | number | null {
  if (value === null || value === undefined || typeof value === "number") return value ?? null;
  const text = plainText(typeof value === "string" ? value : JSON.stringify(value));
  return text.length > CELL_LENGTH_MAX ? `${text.slice(0, CELL_LENGTH_MAX - 1)}…` : text;
}

/** What this shows of it; all of it is shown by --json. */
const Page = z.object({
  connected: z.boolean(),
  stale: z.boolean(),
  stale_ms: z.number().nullable(),
  behind_ms: z.number().nullable(),
  silent_ms: z.number().nullable(),
  last_error: z.string().nullable(),
  tables: z.record(z.string(), z.object({ rows: z.number(), tombstones: z.number() })),
  streams: z.record(z.string(), z.string()),
  digests: z.object({ owners: z.number(), differing: z.number() }),
  incidents_count: z.number(),
  quarantined: z.number(),
}).partial();

/** Pure: for people. */
export function renderStatus(page: unknown): string {
  const parsed = Page.safeParse(page);
  if (!parsed.success) return JSON.stringify(page, null, 2);
  const { connected, stale, tables = {}, streams = {}, digests, ...rest } = parsed.data;
  const state = connected !== true ? "disconnected" : stale === true ? "stale" : "following";
  const seconds = (ms: number | null | undefined) =>
    ms == null ? "never" : `${(ms / 1_000).toFixed(1)} s ago`;
  const lines = [
    `replica     ${state}`,
    `Redis       answered ${seconds(rest.stale_ms)}${
      rest.last_error ? `; last: ${plainText(rest.last_error)}` : ""
    }`,
    `caught up   ${seconds(rest.behind_ms)}`,
    // One of an earlier version does not say, nor one whose owners give no digests.
    ...(rest.silent_ms == null ? [] : [`owners      heard ${seconds(rest.silent_ms)}`]),
    `digests     ${digests?.owners ?? 0} owners, ${digests?.differing ?? 0} differ`,
    `incidents   ${rest.incidents_count ?? 0}`,
    `quarantine  ${rest.quarantined ?? 0} events refused`,
  ];
  const counts = Object.entries(tables).map(([name, { rows, tombstones }]) => ({
    table: name,
    rows,
    deleted: tombstones,
  }));
  const places = Object.entries(streams).map(([stream, position]) => ({ stream, position }));
  return [...lines, "", table(counts, "no tables"), "", table(places, "no stream has been read")].join("\n");
}

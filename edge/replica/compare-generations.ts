/**
 * The serving generation and the one that is to take over, row by row, in slices: what differs, for the report; rows of
 * owners that said nothing while the new one was built, which are taken along; and rows that are gone without a tombstone,
 * which get one, because readers learn from tombstones alone that a row is no longer there.
 */
import type { StateEvent } from "../../control/contract/events.ts";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";
import type { EarlierHistory } from "./carry-history.ts";
import { DIFFERENCES_SHOWN_MAX, type RowDifference } from "./incidents.ts";
import type { OwnerState } from "./judge-generation.ts";
import type { ReplicaStore, ValidEvent } from "./replica-store.ts";
import { rowChecksum, type StoredRow } from "./row-checksum.ts";

const SLICE_ROWS = 500;
/** More than a slice, so that one read finds all where both generations have about the same. */
const COUNTERPARTS_MAX = 2 * SLICE_ROWS;
/** Behind every key, in the order of UTF-8. */
const LAST_KEY = "\u{10ffff}";
/** More rows than this are told by the take-over alone, after which readers read everything. */
export const CHANGES_TOLD_MAX = 10_000;

/** A generation that serves, whichever schema it has. */
export interface EarlierRows extends Partial<EarlierHistory> {
  page(table: TableName, after: string, rowsMax: number): (StoredRow & { checksum: number })[];
  owners(): Map<string, OwnerState>;
}

export interface CompareOptions {
  readonly before: EarlierRows;
  readonly after: ReplicaStore;
  /** Whose rows are taken along. */
  readonly silent: ReadonlySet<string>;
  /** Rows published later may be in one and on their way to the other. */
  readonly publishedMsMax: number;
  readonly wallMs: () => number;
  /** Between two slices; throws where it is to end. */
  readonly rest: () => Promise<void>;
}

export interface Comparison {
  differed: number;
  carried: number;
  readonly differences: RowDifference[];
  readonly changed: { readonly table: TableName; readonly key: string }[];
  /** Why not all of the earlier rows could be read. */
  unreadable: string | null;
}

type Versioned = Pick<StoredRow, "epoch" | "seq" | "deleted">;

export async function compareGenerations(options: CompareOptions): Promise<Comparison> {
  const result: Comparison = { differed: 0, carried: 0, differences: [], changed: [], unreadable: null };
  for (const table of TABLE_NAMES) {
    try {
      await compareTable(options, table, result);
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      result.unreadable = error.message;
    }
  }
  return result;
}

/** Rows as they are told to whoever routes by them. */
export function changesOf({ changed }: Comparison, store: ReplicaStore): RowChange[] {
  return changed.map(({ table, key }) => ({ table, key, row: store.row(table, key) }) as RowChange);
}

async function compareTable(options: CompareOptions, table: TableName, result: Comparison): Promise<void> {
  const { before, after, silent, publishedMsMax, wallMs, rest } = options;
  for (let cursor = "";;) {
    const rows = readable(() => before.page(table, cursor, SLICE_ROWS));
    const isLast = rows.length < SLICE_ROWS;
    const last = isLast ? LAST_KEY : rows.at(-1)!.key;
    const there = await counterparts(options, table, rows, [cursor, last], result);
    const carried: ValidEvent[] = [];
    const gone: { key: string; owner: string }[] = [];
    const turned: string[] = [];
    for (const row of rows) {
      const intact = rowChecksum(row) === row.checksum;
      const now = there.get(row.key);
      // A higher version is right, whoever has it: what a stream has lost since must not come back as it was before.
      const isWanted = now !== undefined || silent.has(row.owner);
      if (intact && isWanted && row.epoch >= 0 && isBehind(now, row)) {
        carried.push(eventOf(table, row));
      } else {
        if (now === undefined && row.deleted === 0) gone.push(row);
        const same = intact ? isSame(row, now) : now === undefined;
        if (!same && now !== undefined) turned.push(row.key);
        if (!same && row.published_ms <= publishedMsMax) {
          note(result, table, row.key, intact ? versionText(row) : "damaged", versionText(now));
        }
      }
    }
    if (carried.length > 0) result.carried += after.carry(carried, wallMs());
    if (turned.length > 0) after.noteTurned(table, turned, wallMs());
    if (gone.length > 0) after.markGone(table, gone, wallMs());
    if (isLast) return;
    cursor = last;
    await rest();
  }
}

/** What the new generation has of these rows; and what it has between them, which the earlier one has not, is noted. */
async function counterparts(
  { after, publishedMsMax, rest }: CompareOptions,
  table: TableName,
  rows: readonly StoredRow[],
  [first, last]: readonly [first: string, last: string],
  result: Comparison,
): Promise<Map<string, Versioned>> {
  const keys = new Set(rows.map(({ key }) => key));
  const there = new Map<string, Versioned>();
  for (let cursor = first;;) {
    const found = after.versions(table, cursor, last, COUNTERPARTS_MAX);
    for (const row of found) {
      if (keys.has(row.key)) there.set(row.key, row);
      else if (row.deleted === 0 && row.published_ms <= publishedMsMax) {
        note(result, table, row.key, null, versionText(row));
      }
    }
    if (found.length < COUNTERPARTS_MAX) return there;
    cursor = found.at(-1)!.key;
    // What comes meanwhile is newer, and a newer version is never overwritten.
    await rest();
  }
}

class UnreadableError extends Error {}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UnreadableError(error instanceof Error ? error.message : String(error));
  }
}

function note(
  result: Comparison,
  table: TableName,
  key: string,
  before: string | null,
  after: string | null,
): void {
  result.differed++;
  if (result.differences.length < DIFFERENCES_SHOWN_MAX) {
    result.differences.push({ table, key, before, after });
  }
  if (result.changed.length < CHANGES_TOLD_MAX) result.changed.push({ table, key });
}

function isBehind(now: Versioned | undefined, row: Versioned): boolean {
  return now === undefined || row.epoch > now.epoch || (row.epoch === now.epoch && row.seq > now.seq);
}

/** One that is gone is as good as one that is not there. */
function isSame(row: Versioned, now: Versioned | undefined): boolean {
  if (row.deleted !== 0 && (now === undefined || now.deleted !== 0)) return true;
  return now !== undefined && row.deleted === now.deleted && row.epoch === now.epoch && row.seq === now.seq;
}

function versionText(row: Versioned | undefined): string | null {
  return row === undefined || row.deleted !== 0 ? null : `${row.epoch}.${row.seq}`;
}

function eventOf(table: TableName, row: StoredRow): ValidEvent {
  const event: StateEvent = {
    schema: 1,
    ...{ owner: row.owner, table, key: row.key, version: { epoch: row.epoch, seq: row.seq } },
    deleted: row.deleted !== 0,
    row: row.row === null ? null : JSON.parse(row.row) as Record<string, unknown>,
    published_ms: row.published_ms,
  };
  return { table, event };
}

/** A file of another schema, as far as it is like ours: every schema so far has these columns. */
export function rowsOfAnySchema(database: SqlDatabase): EarlierRows {
  // Nobody writes it any more.
  let owners: Map<string, OwnerState> | null = null;
  return {
    page: (table, after, rowsMax) =>
      (database.prepare(`
        SELECT key, owner, epoch, seq, deleted, published_ms, row FROM ${table}
        WHERE key > ? ORDER BY key LIMIT ?`).all(after, rowsMax) as unknown as StoredRow[])
        .map((row) => ({ ...row, checksum: rowChecksum(row) })),
    owners: () => owners ??= ownersOf(database),
  };
}

function ownersOf(database: SqlDatabase): Map<string, OwnerState> {
  const owners = new Map<string, OwnerState>();
  for (const table of TABLE_NAMES) {
    try {
      const found = database.prepare(
        `SELECT owner, count(*) FILTER (WHERE deleted = 0) AS rows, max(published_ms) AS newest
           FROM ${table} GROUP BY owner`,
      ).all();
      for (const { owner, rows, newest } of found) {
        const before = owners.get(String(owner));
        owners.set(String(owner), {
          rows: (before?.rows ?? 0) + Number(rows),
          digest: "none",
          digestMs: 0,
          newestMs: Math.max(before?.newestMs ?? 0, Number(newest)),
        });
      }
    } catch {
      // A schema without this table has no rows of it.
    }
  }
  return owners;
}

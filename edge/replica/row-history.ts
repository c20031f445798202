/** Earlier versions of rows, for `godwit route explain --at`: as many as fit, for as long as wanted. Off by default. */
import type { StateEvent } from "../../control/contract/events.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement, SqlValue } from "../runtime/sqlite-port.ts";

export interface HistoryLimits {
  /** 0: none is kept. */
  readonly rowsMax: number;
  readonly keptMs: number;
}
export const NO_HISTORY: HistoryLimits = { rowsMax: 0, keptMs: 0 };

export interface RowAt {
  readonly version: { readonly epoch: number; readonly seq: number };
  /** Null where it was deleted. */
  readonly row: unknown;
  /** When this replica took it; where it has not changed since, when its owner published it. */
  readonly applied_ms: number;
}

export class RowHistory {
  readonly #limits: HistoryLimits;
  readonly #insert: SqlStatement;
  readonly #trimCount: SqlStatement;
  readonly #trimAge: SqlStatement;
  #recorded = false;

  constructor(database: SqlDatabase, limits: HistoryLimits) {
    this.#limits = limits;
    this.#insert = database.prepare(
      "INSERT INTO history (table_name, key, epoch, seq, applied_ms, row) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#trimCount = database.prepare("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?");
    // In the order of ids, so that it ends at the first that is young enough.
    this.#trimAge = database.prepare(`
      DELETE FROM history WHERE id < (
        SELECT coalesce((SELECT id FROM history WHERE applied_ms >= ? ORDER BY id LIMIT 1), 1 << 62))`);
  }

  /** Inside the transaction that changes the row. */
  record(table: TableName, { key, version, row }: StateEvent, nowMs: number): void {
    if (this.#limits.rowsMax === 0) return;
    const json = row === null ? null : JSON.stringify(row);
    this.#insert.run(table, key, version.epoch, version.seq, nowMs, json);
    this.#recorded = true;
  }

  /** At the end of the same. */
  trim(nowMs: number): void {
    if (!this.#recorded) return;
    this.#recorded = false;
    this.#trimCount.run(this.#limits.rowsMax);
    this.#trimAge.run(nowMs - this.#limits.keptMs);
  }
}

/** Keys of machines that one app is said to have had; a page for people shows no more. */
export const PAST_KEYS_MAX = 1_000;

/** What a replica's file knows of the past, for whoever can read it. */
export class PastRows {
  readonly #database: SqlDatabase;
  readonly #find: SqlStatement;
  readonly #oldest: SqlStatement;
  readonly #machines: SqlStatement;

  constructor(database: SqlDatabase) {
    this.#database = database;
    this.#find = database.prepare(`
      SELECT epoch, seq, applied_ms, row FROM history
      WHERE table_name = ? AND key = ? AND applied_ms <= ? ORDER BY id DESC LIMIT 1`);
    this.#oldest = database.prepare("SELECT applied_ms FROM history ORDER BY id LIMIT 1");
    // By the index history_of_app, whose words these are.
    this.#machines = database.prepare(`
      SELECT DISTINCT key FROM history
      WHERE table_name = 'machines' AND json_extract(row, '$.app_id') = ? LIMIT ${PAST_KEYS_MAX}`);
  }

  /** A row as it was: from the history, or as it is where it has not changed since. Null where that is not known. */
  rowAt(table: TableName, key: string, atMs: number): RowAt | null {
    const [then] = this.#find.all(table, key, atMs);
    if (then !== undefined) return rowOf(then, Number(then.applied_ms));
    const now = this.#stored(table, key);
    const publishedMs = Number(now?.published_ms);
    return now === undefined || publishedMs > atMs ? null : rowOf(now, publishedMs);
  }

  /** Live or deleted: where nothing is, nothing was as far as can be told. */
  isStored(table: TableName, key: string): boolean {
    return this.#stored(table, key) !== undefined;
  }

  /** When the oldest change was taken that is remembered; null where none is. */
  reachesToMs(): number | null {
    const [oldest] = this.#oldest.all();
    return oldest === undefined ? null : Number(oldest.applied_ms);
  }

  /** Machines that have been this app's while the history was kept. */
  machineKeysOf(appId: string): string[] {
    return this.#machines.all(appId).map(({ key }) => String(key));
  }

  #stored(table: TableName, key: string): Record<string, SqlValue> | undefined {
    const sql = `SELECT epoch, seq, published_ms, row FROM ${table} WHERE key = ?`;
    return this.#database.prepare(sql).all(key)[0];
  }
}

function rowOf({ epoch, seq, row }: Record<string, SqlValue>, appliedMs: number): RowAt {
  return {
    version: { epoch: Number(epoch), seq: Number(seq) },
    row: row === null ? null : JSON.parse(String(row)),
    applied_ms: appliedMs,
  };
}

/**
 * Earlier versions of rows, for `godwit route explain --at`: as many as fit, for as long as wanted. Off by default.
 *
 * A generation that is being built remembers nothing: it reads again what the serving one has known for long. From when it
 * has caught up it remembers, under ids that leave room for what the serving one remembers, which then is put before it,
 * the newest first: so what was carried reaches back from the take-over without a hole, however much of it there was time for.
 */
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

/** One version of a row, as the table `history` has it. */
export interface PastVersion {
  readonly id: number;
  readonly table_name: string;
  readonly key: string;
  readonly epoch: number;
  readonly seq: number;
  readonly applied_ms: number;
  readonly row: string | null;
}

type PastEvent = Pick<StateEvent, "key" | "version" | "row">;

export class RowHistory {
  readonly #database: SqlDatabase;
  readonly #limits: HistoryLimits;
  readonly #insert: SqlStatement;
  readonly #find: SqlStatement;
  readonly #trimCount: SqlStatement;
  readonly #trimAge: SqlStatement;
  #recorded = false;
  #isHeld = false;
  /** Before which id carried versions are to be put. */
  #firstId = 0;

  constructor(database: SqlDatabase, limits: HistoryLimits) {
    this.#database = database;
    this.#limits = limits;
    this.#insert = database.prepare(
      "INSERT INTO history (table_name, key, epoch, seq, applied_ms, row) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#find = database.prepare("SELECT 1 FROM history WHERE table_name = ? AND key = ? LIMIT 1");
    this.#trimCount = database.prepare("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?");
    // In the order of ids, so that it ends at the first that is young enough.
    this.#trimAge = database.prepare(`
      DELETE FROM history WHERE id < (
        SELECT coalesce((SELECT id FROM history WHERE applied_ms >= ? ORDER BY id LIMIT 1), 1 << 62))`);
  }

  get limits(): HistoryLimits {
    return this.#limits;
  }

  /** Inside the transaction that changes the row. */
  record(table: TableName, { key, version, row }: PastEvent, nowMs: number): void {
    if (this.#limits.rowsMax === 0 || this.#isHeld) return;
    const json = row === null ? null : JSON.stringify(row);
    this.#insert.run(table, key, version.epoch, version.seq, nowMs, json);
    this.#recorded = true;
  }

  /** Remembers nothing until `begin`. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Of a file that remembers nothing yet. */
  begin(): void {
    this.#isHeld = false;
    const { rowsMax } = this.#limits;
    if (rowsMax === 0) return;
    this.#firstId = rowsMax + 1;
    this.#database.exec("DELETE FROM sqlite_sequence WHERE name = 'history'");
    this.#database.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('history', ?)").run(rowsMax);
  }

  /** Whether any version of the row is remembered. */
  knows(table: TableName, key: string): boolean {
    return this.#limits.rowsMax > 0 && this.#find.all(table, key).length > 0;
  }

  /** The newest first. @param beforeId of the last one of the page before; Infinity: from the newest */
  page(beforeId: number, rowsMax: number): PastVersion[] {
    return this.#database.prepare(`
      SELECT id, table_name, key, epoch, seq, applied_ms, row FROM history WHERE id < ? ORDER BY id DESC LIMIT ?`)
      .all(Math.min(beforeId, Number.MAX_SAFE_INTEGER), rowsMax) as unknown as PastVersion[];
  }

  /** Inside a transaction, after `begin`. @param versions the newest first, each older than what is here */
  prepend(versions: readonly PastVersion[]): void {
    const insert = this.#database.prepare(
      "INSERT INTO history (id, table_name, key, epoch, seq, applied_ms, row) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    for (const { table_name, key, epoch, seq, applied_ms, row } of versions) {
      insert.run(--this.#firstId, table_name, key, epoch, seq, applied_ms, row);
    }
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

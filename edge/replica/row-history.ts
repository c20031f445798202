/** Earlier versions of rows, for `godwit route explain --at`: as many as fit, for as long as wanted. Off by default. */
import type { StateEvent } from "../../control/contract/events.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";

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
  /** When this replica took it. */
  readonly applied_ms: number;
}

export class RowHistory {
  readonly #limits: HistoryLimits;
  readonly #insert: SqlStatement;
  readonly #trimCount: SqlStatement;
  readonly #trimAge: SqlStatement;
  readonly #find: SqlStatement;
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
    this.#find = database.prepare(`
      SELECT epoch, seq, applied_ms, row FROM history
      WHERE table_name = ? AND key = ? AND applied_ms <= ? ORDER BY id DESC LIMIT 1`);
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

  /** Null where nothing that old is known of it. */
  rowAt(table: TableName, key: string, atMs: number): RowAt | null {
    const [found] = this.#find.all(table, key, atMs);
    if (found === undefined) return null;
    return {
      version: { epoch: Number(found.epoch), seq: Number(found.seq) },
      row: found.row === null ? null : JSON.parse(String(found.row)),
      applied_ms: Number(found.applied_ms),
    };
  }
}

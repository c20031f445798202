/** The replica's file, read by workers while the replicator writes it (SQLite's WAL lets them). */
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { RowOrigin } from "../rows/row-source.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { OpenDatabase, SqlDatabase, SqlStatement, SqlValue } from "../runtime/sqlite-port.ts";

/** Rows read at once where all are read while requests are served. */
export const PAGE_ROWS = 1_000;

interface Statements {
  readonly one: SqlStatement;
  readonly origin: SqlStatement;
  readonly page: SqlStatement;
}

export class ReplicaReader {
  readonly #database: SqlDatabase;
  readonly #statements = new Map<TableName, Statements>();

  constructor(file: string, open: OpenDatabase) {
    const database = this.#database = open(file);
    for (const pragma of ["busy_timeout = 1000", "query_only = 1"]) database.exec(`PRAGMA ${pragma}`);
    for (const table of TABLE_NAMES) {
      this.#statements.set(table, {
        one: database.prepare(`SELECT row FROM ${table} WHERE key = ? AND deleted = 0`),
        origin: database.prepare(
          `SELECT owner, epoch, seq, published_ms FROM ${table} WHERE key = ? AND deleted = 0`,
        ),
        page: database.prepare(`SELECT key, deleted, row FROM ${table} WHERE key > ? ORDER BY key LIMIT ?`),
      });
    }
  }

  /** As it is now; null where it is deleted or never was. */
  change(table: TableName, key: string): RowChange {
    const [found] = this.#statements.get(table)!.one.all(key);
    return changeOf(table, key, found?.row ?? null);
  }

  origin(table: TableName, key: string): RowOrigin | null {
    const [found] = this.#statements.get(table)!.origin.all(key);
    if (found === undefined) return null;
    const { owner, epoch, seq, published_ms } = found;
    const version = { epoch: Number(epoch), seq: Number(seq) };
    return { owner: String(owner), version, published_ms: Number(published_ms) };
  }

  /** Everything in pages: live rows, and null for those that are deleted. */
  *pages(): Generator<RowChange[]> {
    for (const table of TABLE_NAMES) {
      let after = "";
      for (;;) {
        const rows = this.#statements.get(table)!.page.all(after, PAGE_ROWS);
        if (rows.length === 0) break;
        after = String(rows.at(-1)!.key);
        yield rows.map(({ key, row }) => changeOf(table, String(key), row ?? null));
      }
    }
  }

  close(): void {
    this.#database.close();
  }
}

function changeOf(table: TableName, key: string, row: SqlValue): RowChange {
  return { table, key, row: row === null ? null : JSON.parse(String(row)) } as RowChange;
}

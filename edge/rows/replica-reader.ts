/**
 * The replica's file, read by relays while the replicator writes it (SQLite's WAL lets them). Opened read-only, and never
 * waiting for a lock: a relay has requests to answer meanwhile, and asks again later.
 */
import { statSync } from "node:fs";
import type { TableName } from "../../control/contract/rows.ts";
import { PastRows } from "../replica/row-history.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { OpenDatabase, SqlDatabase, SqlStatement, SqlValue } from "../runtime/sqlite-port.ts";
import type { News } from "./pending-changes.ts";
import type { RowOrigin } from "./row-source.ts";

/** Tables that routing reads. */
export const ROUTED_TABLES: readonly RowChange["table"][] = [
  "apps",
  "hostnames",
  "hosts",
  "machines",
  "certificates",
  "acme_answers",
];
const CACHE_KIB = 8_192;

interface Statements {
  readonly some: SqlStatement;
  readonly origin: SqlStatement;
  readonly page: SqlStatement;
}

export class ReplicaReader {
  /** Names the file itself, whatever its path leads to later. */
  readonly identity: string;
  readonly #database: SqlDatabase;
  #past: PastRows | null = null;
  readonly #statements = new Map<string, Statements>();

  /** Throws what SQLite or the file system throws. */
  constructor(file: string, open: OpenDatabase) {
    this.identity = identityOf(file);
    const database = this.#database = open(file, "readonly");
    try {
      for (const pragma of ["busy_timeout = 0", `cache_size = -${CACHE_KIB}`]) {
        database.exec(`PRAGMA ${pragma}`);
      }
      for (const table of ROUTED_TABLES) this.#statements.set(table, prepare(database, table));
      if (identityOf(file) !== this.identity) throw new Error(`${file} was replaced while it was opened`);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** As they are now; null where they are deleted or never were. */
  read(keys: News["keys"]): RowChange[] {
    const changes: RowChange[] = [];
    for (const [table, some] of keys) {
      const statements = this.#statements.get(table);
      if (statements === undefined) continue;
      const found = new Map<string, SqlValue>();
      for (const { key, row } of statements.some.all(JSON.stringify(some))) {
        found.set(String(key), row ?? null);
      }
      for (const key of some) changes.push(changeOf(table, key, found.get(key) ?? null));
    }
    return changes;
  }

  has(table: TableName, key: string): boolean {
    return this.origin(table, key) !== null;
  }

  origin(table: TableName, key: string): RowOrigin | null {
    const [found] = this.#statements.get(table)?.origin.all(key) ?? [];
    if (found === undefined) return null;
    const { owner, epoch, seq, published_ms } = found;
    const version = { epoch: Number(epoch), seq: Number(seq) };
    return { owner: String(owner), version, published_ms: Number(published_ms) };
  }

  past(): PastRows {
    return this.#past ??= new PastRows(this.#database);
  }

  /**
   * All that there is, in pages: live rows, and null for those that are deleted.
   * @param rowsMax asked before each page
   */
  *pages(rowsMax: () => number): Generator<RowChange[]> {
    for (const table of ROUTED_TABLES) {
      let after = "";
      for (;;) {
        const rows = this.#statements.get(table)!.page.all(after, rowsMax());
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

function prepare(database: SqlDatabase, table: TableName): Statements {
  return {
    some: database.prepare(
      `SELECT key, row FROM ${table} WHERE key IN (SELECT value FROM json_each(?)) AND deleted = 0`,
    ),
    origin: database.prepare(
      `SELECT owner, epoch, seq, published_ms FROM ${table} WHERE key = ? AND deleted = 0`,
    ),
    page: database.prepare(`SELECT key, row FROM ${table} WHERE key > ? ORDER BY key LIMIT ?`),
  };
}

function identityOf(file: string): string {
  const { dev, ino } = statSync(file, { bigint: true });
  return `${dev}:${ino}`;
}

function changeOf(table: TableName, key: string, row: SqlValue): RowChange {
  return { table, key, row: row === null ? null : JSON.parse(String(row)) } as RowChange;
}

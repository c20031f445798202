/** What stands in a replica's file, for whoever asks; `replica-store.ts` writes it. */
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import { PublisherKey } from "../../control/contract/signing.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";
import type { StoredRow } from "./row-checksum.ts";

export type StoredVersion = Pick<StoredRow, "key" | "epoch" | "seq" | "deleted" | "published_ms">;

export class StoredRows {
  readonly #database: SqlDatabase;
  readonly #pages = new Map<TableName, SqlStatement>();
  readonly #versions = new Map<TableName, SqlStatement>();
  readonly #quarantined: SqlStatement;

  constructor(database: SqlDatabase) {
    this.#database = database;
    this.#quarantined = database.prepare(
      "SELECT stream, entry_id, reason, detail, at_ms FROM quarantine ORDER BY id DESC LIMIT ?",
    );
    for (const table of TABLE_NAMES) {
      this.#pages.set(
        table,
        database.prepare(`
          SELECT key, owner, epoch, seq, deleted, published_ms, row, checksum FROM ${table}
          WHERE key > ? ORDER BY key LIMIT ?`),
      );
      this.#versions.set(
        table,
        database.prepare(
          `SELECT key, epoch, seq, deleted, published_ms FROM ${table}
           WHERE key > ? AND key <= ? ORDER BY key LIMIT ?`,
        ),
      );
    }
  }

  positions(): Map<string, string> {
    const rows = this.#database.prepare("SELECT name, position FROM streams").all();
    return new Map(rows.map((row) => [String(row.name), String(row.position)]));
  }

  /** How far each stream was ever read. */
  furthest(): Map<string, string> {
    const rows = this.#database.prepare("SELECT name, furthest FROM streams").all();
    return new Map(rows.map((row) => [String(row.name), String(row.furthest)]));
  }

  /** Live rows of one table, in no order. */
  rows(table: TableName): { key: string; row: unknown }[] {
    return this.#database.prepare(`SELECT key, row FROM ${table} WHERE deleted = 0`).all()
      .map(({ key, row }) => ({ key: String(key), row: JSON.parse(String(row)) }));
  }

  /** Rows and tombstones behind a key, in the order of keys. */
  page(table: TableName, after: string, rowsMax: number): (StoredRow & { checksum: number })[] {
    return this.#pages.get(table)!.all(after, rowsMax) as unknown as (StoredRow & { checksum: number })[];
  }

  /** Of rows and tombstones behind `after` and up to `last`, in the order of keys. */
  versions(table: TableName, after: string, last: string, rowsMax: number): StoredVersion[] {
    return this.#versions.get(table)!.all(after, last, rowsMax) as unknown as StoredVersion[];
  }

  /** A live one's. */
  row(table: TableName, key: string): unknown {
    const [found] = this.#database.prepare(`SELECT row FROM ${table} WHERE key = ? AND deleted = 0`).all(key);
    return found === undefined ? null : JSON.parse(String(found.row));
  }

  has(table: TableName, key: string): boolean {
    return this.origin(table, key) !== null;
  }

  /** Who wrote a live row, as which version, when. */
  origin(table: TableName, key: string) {
    const [found] = this.#database.prepare(
      `SELECT owner, epoch, seq, published_ms FROM ${table} WHERE key = ? AND deleted = 0`,
    ).all(key);
    return found === undefined ? null : {
      owner: String(found.owner),
      version: { epoch: Number(found.epoch), seq: Number(found.seq) },
      published_ms: Number(found.published_ms),
    };
  }

  publisherKey(owner: string): PublisherKey | null {
    const [found] = this.#database.prepare("SELECT row FROM publishers WHERE key = ? AND deleted = 0").all(
      owner,
    );
    try {
      const row = JSON.parse(String(found?.row)) as { public_key?: unknown };
      return PublisherKey.safeParse(row.public_key).data ?? null;
    } catch {
      return null; // there is none, or it is damaged, which the scrub will find
    }
  }

  /** The newest first. Asked for every second, with the status. */
  quarantined(limit: number): Record<string, unknown>[] {
    return this.#quarantined.all(limit);
  }

  /** JSON, the oldest first. */
  incidents(): string[] {
    return this.#database.prepare("SELECT incident FROM incidents ORDER BY id").all()
      .map(({ incident }) => String(incident));
  }

  close(): void {
    this.#database.close();
  }
}

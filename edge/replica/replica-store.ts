/**
 * The replica's SQLite file: one table for each table of the contract, the position in each stream, and the quarantine.
 * A batch's rows and its position are one transaction, so that a crash repeats a batch or does not, and versions make
 * the repetition harmless. See README.md here for the schema.
 */
import { messageOf } from "../../control/contract/errors.ts";
import type { StateEvent } from "../../control/contract/events.ts";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import type { SqlDatabase, SqlStatement } from "../runtime/sqlite-port.ts";
import type { ReplicaFiles } from "./ports.ts";

export const REPLICA_SCHEMA = 1;
export const QUARANTINE_ROWS_MAX = 1_000;
export const QUARANTINE_EVENT_BYTES_MAX = 4_096;

export interface QuarantinedEvent {
  readonly stream: string;
  readonly entryId: string;
  readonly reason: string;
  readonly detail: string;
  readonly event: string;
}

/** An event whose table and row have been validated. */
export interface ValidEvent {
  readonly table: TableName;
  readonly event: StateEvent;
}

export class ReplicaStore {
  readonly #database: SqlDatabase;
  readonly #upserts = new Map<TableName, SqlStatement>();
  readonly #setPosition: SqlStatement;
  readonly #quarantine: SqlStatement;
  readonly #trimQuarantine: SqlStatement;
  readonly #begin: SqlStatement;
  readonly #commit: SqlStatement;
  readonly #rollback: SqlStatement;

  constructor(database: SqlDatabase) {
    this.#database = database;
    for (const table of TABLE_NAMES) {
      this.#upserts.set(
        table,
        database.prepare(`
          INSERT INTO ${table} (key, owner, epoch, seq, deleted, published_ms, row) VALUES (?, ?, ?, ?, ?, ?, ?)
          ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, seq = excluded.seq,
            deleted = excluded.deleted, published_ms = excluded.published_ms, row = excluded.row
          WHERE (excluded.epoch, excluded.seq) > (epoch, seq)`),
      );
    }
    this.#setPosition = database.prepare(`
      INSERT INTO streams (name, position) VALUES (?, ?)
      ON CONFLICT (name) DO UPDATE SET position = excluded.position`);
    this.#quarantine = database.prepare(
      "INSERT INTO quarantine (stream, entry_id, reason, detail, event, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#trimQuarantine = database.prepare(
      "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
    );
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
  }

  /**
   * One transaction: the events that are newer than what is there, the refused ones, the stream's position.
   * @returns those events that changed a row
   */
  apply(
    stream: string,
    position: string,
    events: readonly ValidEvent[],
    refused: readonly QuarantinedEvent[],
    nowMs: number,
  ): ValidEvent[] {
    const changed: ValidEvent[] = [];
    this.#begin.run();
    try {
      for (const valid of events) {
        const { event, table } = valid;
        const changes = this.#upserts.get(table)!.run(
          event.key,
          event.owner,
          event.version.epoch,
          event.version.seq,
          event.deleted ? 1 : 0,
          event.published_ms,
          event.row === null ? null : JSON.stringify(event.row),
        );
        if (changes > 0) changed.push(valid);
      }
      for (const { stream, entryId, reason, detail, event } of refused) {
        this.#quarantine.run(
          stream,
          entryId,
          reason,
          detail.slice(0, QUARANTINE_EVENT_BYTES_MAX),
          event.slice(0, QUARANTINE_EVENT_BYTES_MAX),
          nowMs,
        );
      }
      if (refused.length > 0) this.#trimQuarantine.run(QUARANTINE_ROWS_MAX);
      this.#setPosition.run(stream, position);
      this.#commit.run();
    } catch (error) {
      this.#rollback.run();
      throw error;
    }
    return changed;
  }

  positions(): Map<string, string> {
    const rows = this.#database.prepare("SELECT name, position FROM streams").all();
    return new Map(rows.map((row) => [String(row.name), String(row.position)]));
  }

  /** Live rows of one table, in no order. */
  rows(table: TableName): { key: string; row: unknown }[] {
    return this.#database.prepare(`SELECT key, row FROM ${table} WHERE deleted = 0`).all()
      .map(({ key, row }) => ({ key: String(key), row: JSON.parse(String(row)) }));
  }

  has(table: TableName, key: string): boolean {
    return this.#database.prepare(`SELECT 1 AS found FROM ${table} WHERE key = ? AND deleted = 0`).all(key)
      .length > 0;
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

  counts(): Record<string, { rows: number; tombstones: number }> {
    return Object.fromEntries(TABLE_NAMES.map((table) => {
      const [row] = this.#database.prepare(
        `SELECT count(*) FILTER (WHERE deleted = 0) AS rows, count(*) FILTER (WHERE deleted = 1) AS tombstones
         FROM ${table}`,
      ).all();
      return [table, { rows: Number(row?.rows ?? 0), tombstones: Number(row?.tombstones ?? 0) }];
    }));
  }

  quarantined(limit: number): Record<string, unknown>[] {
    return this.#database.prepare(
      "SELECT stream, entry_id, reason, detail, at_ms FROM quarantine ORDER BY id DESC LIMIT ?",
    ).all(limit);
  }

  close(): void {
    this.#database.close();
  }
}

/**
 * Opens the present generation. One that SQLite cannot read, or that another version of Godwit wrote, is set aside and
 * made anew: everything in it can be read again from the streams.
 */
export function openReplicaStore(files: ReplicaFiles, onSetAside: (reason: string) => void): ReplicaStore {
  let reason: string | null = null;
  try {
    const database = files.openCurrent();
    reason = database === null ? null : unusable(database);
    if (database !== null && reason === null) return storeIn(database);
    database?.close();
  } catch (error) {
    // Locked, full, read-only: the file may be whole, and whoever keeps this process tries again.
    if (!/malformed|not a database/.test(messageOf(error))) throw error;
    reason = messageOf(error);
  }
  const store = storeIn(files.createNext());
  const earlier = files.takeOver();
  if (reason !== null) {
    if (earlier !== null) files.setAside(earlier);
    onSetAside(reason);
  }
  files.prune();
  return store;
}

/** Makes what is missing. */
export function storeIn(database: SqlDatabase): ReplicaStore {
  // A replica may lose its last batches in a power cut: they are in the stream, and rows and position go together.
  for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 1000"]) {
    database.exec(`PRAGMA ${pragma}`);
  }
  for (const table of TABLE_NAMES) {
    database.exec(`CREATE TABLE IF NOT EXISTS ${table} (
      key TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
      deleted INTEGER NOT NULL, published_ms INTEGER NOT NULL, row TEXT) WITHOUT ROWID`);
  }
  database.exec(
    "CREATE TABLE IF NOT EXISTS streams (name TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID",
  );
  database.exec(`CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, entry_id TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, event TEXT NOT NULL, at_ms INTEGER NOT NULL)`);
  database.exec(`PRAGMA user_version = ${REPLICA_SCHEMA}`);
  return new ReplicaStore(database);
}

function unusable(database: SqlDatabase): string | null {
  const version = Number(database.prepare("PRAGMA user_version").all()[0]?.user_version);
  if (version !== REPLICA_SCHEMA) return `its schema is ${version}, this program's is ${REPLICA_SCHEMA}`;
  const check = String(database.prepare("PRAGMA quick_check(1)").all()[0]?.quick_check);
  return check === "ok" ? null : check;
}

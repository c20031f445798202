/** The tables of a replica's file; README.md here says what they hold. */
import { TABLE_NAMES } from "../../control/contract/rows.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";

/** `PRAGMA user_version`. A replica takes no other. */
export const REPLICA_SCHEMA = 2;

/** Makes what is missing. */
export function makeTables(database: SqlDatabase): void {
  // A replica may lose its last batches in a power cut: they are in the stream, and rows and position go together.
  for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 1000"]) {
    database.exec(`PRAGMA ${pragma}`);
  }
  for (const table of TABLE_NAMES) {
    database.exec(`CREATE TABLE IF NOT EXISTS ${table} (
      key TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
      deleted INTEGER NOT NULL, published_ms INTEGER NOT NULL, row TEXT, checksum INTEGER NOT NULL) WITHOUT ROWID`);
  }
  database.exec(`CREATE TABLE IF NOT EXISTS streams (
    name TEXT PRIMARY KEY, position TEXT NOT NULL, furthest TEXT NOT NULL) WITHOUT ROWID`);
  database.exec(`CREATE TABLE IF NOT EXISTS sums (
    owner TEXT, table_name TEXT, rows INTEGER NOT NULL, sum TEXT NOT NULL, newest_ms INTEGER NOT NULL,
    PRIMARY KEY (owner, table_name)) WITHOUT ROWID`);
  database.exec(`CREATE TABLE IF NOT EXISTS digests (
    owner TEXT PRIMARY KEY, stream TEXT NOT NULL, entry_id TEXT NOT NULL, published_ms INTEGER NOT NULL,
    floor_epoch INTEGER NOT NULL, agrees INTEGER NOT NULL, at_ms INTEGER NOT NULL, agreed_ms INTEGER,
    differed_ms INTEGER) WITHOUT ROWID`);
  database.exec(`CREATE TABLE IF NOT EXISTS unbelieved (
    owner TEXT, stream TEXT, before TEXT NOT NULL, PRIMARY KEY (owner, stream)) WITHOUT ROWID`);
  database.exec(`CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, entry_id TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, event TEXT NOT NULL, at_ms INTEGER NOT NULL)`);
  database.exec(`CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, incident TEXT NOT NULL)`);
  database.exec(`CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL, applied_ms INTEGER NOT NULL, row TEXT)`);
  database.exec("CREATE INDEX IF NOT EXISTS history_of_row ON history (table_name, key, id)");
  database.exec(`CREATE INDEX IF NOT EXISTS history_of_app ON history (json_extract(row, '$.app_id'), key)
    WHERE table_name = 'machines'`);
  database.exec(`PRAGMA user_version = ${REPLICA_SCHEMA}`);
}

/** @returns null where it can be used */
export function whyUnusable(database: SqlDatabase): { kind: "schema" | "corrupt"; detail: string } | null {
  const version = schemaOf(database);
  if (version !== REPLICA_SCHEMA) {
    return { kind: "schema", detail: `its schema is ${version}, this program's is ${REPLICA_SCHEMA}` };
  }
  const check = String(database.prepare("PRAGMA quick_check(1)").all()[0]?.quick_check);
  return check === "ok" ? null : { kind: "corrupt", detail: check };
}

function schemaOf(database: SqlDatabase): number {
  return Number(database.prepare("PRAGMA user_version").all()[0]?.user_version);
}

/**
 * A compact copy of a replica's state, taken while its replicator writes on: all that is read is one read transaction, so
 * that rows and positions belong together, and SQLite's write-ahead log lets the writer go on meanwhile.
 *
 * Tables are copied as the file describes them, and not by a list, so that a replica of a later version loses nothing.
 * `VACUUM INTO` would take along what is no state, and need a second pass over the copy to get rid of it.
 */
import { statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { OpenDatabase, SqlDatabase } from "../runtime/sqlite-port.ts";

/** Tables that say what happened to one replica; a snapshot has them empty. */
export const NOT_STATE: readonly string[] = ["quarantine", "history", "incidents"];
const CACHE_KIB = 8_192;
const BUSY_MS_MAX = 5_000;

export interface CopiedState {
  readonly replicaSchema: number;
  readonly positions: Record<string, string>;
  /** Live ones. */
  readonly rows: number;
}

/**
 * @param file the replica's, a link to the present generation
 * @param target where nothing is yet; a failure leaves it unfinished
 * @param tombstonesBeforeMs those published earlier are left out
 * @returns null where the streams' positions are those of `known`
 */
export function copyState(
  file: string,
  target: string,
  open: OpenDatabase,
  tombstonesBeforeMs: number,
  known: Readonly<Record<string, string>> | null = null,
): CopiedState | null {
  const identity = identityOf(file);
  const database = open(target);
  try {
    // What is unfinished is thrown away, so it needs no journal.
    for (
      const pragma of [
        "journal_mode = OFF",
        "synchronous = OFF",
        `cache_size = -${CACHE_KIB}`,
        `busy_timeout = ${BUSY_MS_MAX}`,
      ]
    ) database.exec(`PRAGMA ${pragma}`);
    database.prepare("ATTACH ? AS source").run(`${pathToFileURL(file).href}?mode=ro`);
    database.exec("BEGIN");
    const positions = positionsIn(database);
    // The transaction has begun. A generation that was replaced before may have lost its log to `prune` already.
    if (identityOf(file) !== identity) throw new Error(`${file} was replaced while it was opened`);
    if (known !== null && samePositions(positions, known)) return null;
    const copied = {
      replicaSchema: copySchema(database),
      positions,
      rows: copyRows(database, tombstonesBeforeMs),
    };
    copyIndexes(database);
    database.exec("COMMIT");
    return copied;
  } finally {
    database.close();
  }
}

function positionsIn(database: SqlDatabase): Record<string, string> {
  const rows = database.prepare("SELECT name, position FROM source.streams ORDER BY name").all();
  return Object.fromEntries(rows.map(({ name, position }) => [String(name), String(position)]));
}

export function samePositions(
  one: Readonly<Record<string, string>>,
  two: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(two).length && names.every((name) => one[name] === two[name]);
}

/** @returns its number */
function copySchema(database: SqlDatabase): number {
  for (const { sql } of describedAs(database, "type = 'table'")) database.exec(sql);
  const schema = Number(database.prepare("PRAGMA source.user_version").all()[0]?.user_version);
  database.exec(`PRAGMA user_version = ${schema}`);
  return schema;
}

function copyRows(database: SqlDatabase, tombstonesBeforeMs: number): number {
  let live = 0;
  for (const { name } of describedAs(database, "type = 'table'")) {
    if (NOT_STATE.includes(name)) continue;
    const table = quoted(name);
    const columns = database.prepare("SELECT name FROM pragma_table_info(?, 'source')").all(name)
      .map((column) => String(column.name));
    if (!["key", "deleted", "published_ms"].every((column) => columns.includes(column))) {
      database.exec(`INSERT INTO main.${table} SELECT * FROM source.${table}`);
      continue;
    }
    database.prepare(
      `INSERT INTO main.${table} SELECT * FROM source.${table}
       WHERE deleted = 0 OR published_ms >= ? ORDER BY key`,
    ).run(tombstonesBeforeMs);
    const [counted] = database.prepare(`SELECT count(*) AS rows FROM main.${table} WHERE deleted = 0`).all();
    live += Number(counted?.rows);
  }
  return live;
}

/** After the rows: an index is made faster of rows that are there. */
function copyIndexes(database: SqlDatabase): void {
  for (const { sql } of describedAs(database, "type <> 'table'")) database.exec(sql);
}

/** SQLite's own tables come by themselves, and indexes without a description with their table. */
function describedAs(database: SqlDatabase, which: string): { name: string; sql: string }[] {
  return database.prepare(
    `SELECT name, sql FROM source.sqlite_schema
     WHERE ${which} AND sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid`,
  ).all().map(({ name, sql }) => ({ name: String(name), sql: String(sql) }));
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function identityOf(file: string): string {
  const { dev, ino } = statSync(file, { bigint: true });
  return `${dev}:${ino}`;
}

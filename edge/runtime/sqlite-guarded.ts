/**
 * A SQLite database for statements that strangers wrote: read-only, and SQLite's authorizer says yes or no to each table
 * and function before a statement runs (https://www.sqlite.org/c3ref/set_authorizer.html). By node:sqlite on both runtimes,
 * because bun:sqlite has no authorizer.
 */
import { constants, DatabaseSync, type StatementSync } from "node:sqlite";

export type GuardedValue = string | number | bigint | null | Uint8Array;

export interface GuardedStatement {
  readonly columns: readonly string[];
  /** Tables and views that the statement may read, as the guard was asked for them. */
  readonly reads: ReadonlySet<string>;
  /** Throws what SQLite throws, at any row. Integers are bigints. */
  rows(values: readonly (string | number | null)[]): Iterable<GuardedValue[]>;
}

export interface GuardedDatabase {
  /** @throws where SQLite refuses it, where it is not one statement, and where it is none that reads */
  prepare(sql: string): GuardedStatement;
  close(): void;
}

export interface Guard {
  /** Run before the guard stands: pragmas, and views of the connection's own. */
  readonly setup: readonly string[];
  /** `PRAGMA user_version`; a file of another is not opened. */
  readonly userVersion: number;
  readonly mayRead: (table: string) => boolean;
  /** Of a string, a blob, a row. */
  readonly valueBytesMax: number;
  readonly sqlBytesMax: number;
}

const READING: ReadonlySet<number> = new Set([constants.SQLITE_SELECT, constants.SQLITE_RECURSIVE]);
/** Tables that are there without being in the schema. */
const BUILT_IN = /^(?:sqlite_|pragma_|dbstat)/i;
const COLUMNS_MAX = 200;
const EXPRESSION_DEPTH_MAX = 200;
const COMPOUND_SELECTS_MAX = 50;
const VARIABLES_MAX = 100;
const PATTERN_LENGTH_MAX = 1_000;

export function openGuarded(file: string, guard: Guard): GuardedDatabase {
  const database = new DatabaseSync(file, {
    readOnly: true,
    limits: {
      length: guard.valueBytesMax,
      sqlLength: guard.sqlBytesMax,
      column: COLUMNS_MAX,
      exprDepth: EXPRESSION_DEPTH_MAX,
      compoundSelect: COMPOUND_SELECTS_MAX,
      variableNumber: VARIABLES_MAX,
      likePatternLength: PATTERN_LENGTH_MAX,
      attach: 0,
    },
  });
  let reads = new Set<string>();
  let selects = false;
  try {
    for (const sql of guard.setup) database.exec(sql);
    const found = database.prepare("PRAGMA user_version").get()?.user_version;
    if (found !== guard.userVersion) throw new Error(`its schema is ${found}, not ${guard.userVersion}`);
    const hidden = namesIn(database).filter((name) => !guard.mayRead(name));
    // Where no column of a table is used, a name that a statement itself gives (WITH n AS …) is asked for like a table's.
    const isOwnName = (name: string, column: string | null) =>
      column === "" && !hidden.includes(name.toLowerCase()) && !BUILT_IN.test(name);
    database.setAuthorizer((action, first, second) => {
      if (READING.has(action)) {
        selects = true;
        return constants.SQLITE_OK;
      }
      if (action === constants.SQLITE_FUNCTION) {
        return second?.toLowerCase() === "load_extension" ? constants.SQLITE_DENY : constants.SQLITE_OK;
      }
      if (action !== constants.SQLITE_READ || first === null) return constants.SQLITE_DENY;
      if (guard.mayRead(first)) reads.add(first.toLowerCase());
      else if (!isOwnName(first, second)) return constants.SQLITE_DENY;
      return constants.SQLITE_OK;
    });
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    prepare(sql) {
      reads = new Set();
      selects = false;
      const statement = database.prepare(sql);
      // VACUUM and its like ask for nothing until they run.
      if (!selects) throw new Error("it is not a statement that reads");
      if (!isBlank(sql.slice(statement.sourceSQL.length))) throw new Error("it is more than one statement");
      statement.setReadBigInts(true);
      statement.setReturnArrays(true);
      return {
        columns: statement.columns().map(({ name }) => name),
        reads,
        rows: (values) => rowsOf(statement, values),
      };
    },
    close: () => database.close(),
  };
}

function namesIn(database: DatabaseSync): string[] {
  return database.prepare("SELECT name FROM sqlite_schema UNION SELECT name FROM sqlite_temp_schema").all()
    .map(({ name }) => String(name).toLowerCase());
}

function rowsOf(
  statement: StatementSync,
  values: readonly (string | number | null)[],
): Iterable<GuardedValue[]> {
  const all = iterateThrows() ? statement.iterate(...values) : statement.all(...values);
  return all as unknown as Iterable<GuardedValue[]>;
}

let throwing: boolean | null = null;

/** Deno 2.9's `iterate` ends where a row fails, as if that had been the last one; its `all` throws. */
function iterateThrows(): boolean {
  if (throwing !== null) return throwing;
  const probe = new DatabaseSync(":memory:");
  try {
    for (const _ of probe.prepare("SELECT abs(-9223372036854775807 - 1)").iterate());
    throwing = false;
  } catch {
    throwing = true;
  } finally {
    probe.close();
  }
  return throwing;
}

/** Nothing but blanks, semicolons and comments. */
function isBlank(sql: string): boolean {
  return /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[^]*?(?:\*\/|$))*$/.test(sql);
}

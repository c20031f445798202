/** One statement of somebody's, from opening the replica to its last row. It runs in a process that may be killed. */
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { TABLE_NAMES } from "../../control/contract/rows.ts";
import { REPLICA_SCHEMA } from "../replica/replica-schema.ts";
import { type GuardedDatabase, type GuardedValue, openGuarded } from "../runtime/sqlite-guarded.ts";
import { mayRead, viewStatements } from "./readable-tables.ts";

export type Parameter = string | number | null;

export interface Statement {
  /** The link to the present generation; opened anew for each statement, so none reads one that was replaced. */
  readonly file: string;
  readonly sql: string;
  readonly params: readonly Parameter[];
  readonly rowsMax: number;
  readonly bytesMax: number;
  readonly valueBytesMax: number;
  readonly sqlBytesMax: number;
}

export interface Answer {
  readonly columns: readonly string[];
  readonly reads: readonly string[];
  /** Each a JSON array. */
  readonly rows: readonly string[];
}

/** Sorting and the like take memory, of which there is a bound, and no disk. */
const SETUP = ["PRAGMA busy_timeout = 200", "PRAGMA temp_store = MEMORY", "PRAGMA cache_size = -8192"];

/**
 * The whole answer is taken at once: a transaction that is open while a client reads would keep the write-ahead log from
 * being written back for as long.
 * @throws GodwitError `query.*`
 */
export function runStatement(statement: Statement): Answer {
  const { sql, params, rowsMax, bytesMax, valueBytesMax } = statement;
  const database = open(statement);
  try {
    const prepared = database.prepare(sql);
    const rows: string[] = [];
    let bytes = 0;
    for (const values of prepared.rows(params)) {
      if (rows.length === rowsMax) throw tooLarge(`it has more than ${rowsMax} rows`);
      const line = JSON.stringify(values.map(jsonOf));
      bytes += Buffer.byteLength(line);
      if (bytes > bytesMax) throw tooLarge(`it has more than ${bytesMax} bytes`);
      rows.push(line);
    }
    return { columns: prepared.columns, reads: [...prepared.reads], rows };
  } catch (error) {
    throw refusalOf(error, valueBytesMax);
  } finally {
    database.close();
  }
}

function open({ file, valueBytesMax, sqlBytesMax }: Statement): GuardedDatabase {
  try {
    return openGuarded(file, {
      setup: [...SETUP, ...viewStatements()],
      userVersion: REPLICA_SCHEMA,
      ...{ mayRead, valueBytesMax, sqlBytesMax },
    });
  } catch (error) {
    throw unreadable(error);
  }
}

/** Integers beyond what a JSON reader keeps exact come as text; blobs in base64. */
function jsonOf(value: GuardedValue): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value;
}

/** Result codes of SQLite (https://www.sqlite.org/rescode.html) without their extensions. */
const AUTH = 23, TOO_BIG = 18, NO_MEMORY = 7;
/** BUSY, LOCKED, IOERR, CORRUPT, CANTOPEN, NOTADB: not the statement's fault. */
const UNREADABLE: ReadonlySet<number> = new Set([5, 6, 10, 11, 14, 26]);

function refusalOf(error: unknown, valueBytesMax: number): GodwitError {
  if (error instanceof GodwitError) return error;
  const code = Number((error as { errcode?: number }).errcode ?? -1) & 0xff;
  if (UNREADABLE.has(code)) return unreadable(error);
  if (code === TOO_BIG) return tooLarge(`a value in it has more than ${valueBytesMax} bytes`);
  if (code === NO_MEMORY) return memoryExceeded();
  const message = messageOf(error);
  if (code === AUTH || /not authorized|prohibited/.test(message)) {
    return new GodwitError("query.forbidden", `This statement may not be run here: ${message}`, {
      fault: "client",
      hint: `SELECT reads ${TABLE_NAMES.join(", ")} and history; nothing here writes`,
    });
  }
  return new GodwitError("query.sql_invalid", `This statement cannot be run: ${message}`, {
    fault: "client",
    hint: "one SELECT of SQLite's dialect; edge/query/README.md has the tables and columns",
  });
}

function unreadable(cause: unknown): GodwitError {
  return new GodwitError("query.replica_unreadable", `Cannot read the replica: ${messageOf(cause)}`, {
    fault: "us",
    retryable: true,
    hint: "`godwit replica status` and the replicator's log say how it is",
  });
}

function tooLarge(what: string): GodwitError {
  return new GodwitError("query.result_too_large", `The answer is too large: ${what}`, {
    fault: "client",
    hint: "ask for fewer columns, or for a part with WHERE and LIMIT",
  });
}

export function memoryExceeded(): GodwitError {
  return new GodwitError("query.memory_exceeded", "The statement took more memory than it may", {
    fault: "client",
    hint: "what is sorted, grouped or joined is held in memory; ask for less of it",
  });
}

/**
 * SQLite on Bun. `close()` of bun:sqlite leaves a database open until the last of its statements is collected: its file,
 * removed or not, its locks and its write-ahead log stay for as long. So those that are still there are finalized first.
 */
import { constants, Database, type Statement } from "bun:sqlite";
import type { SqlDatabase, SqlValue } from "./sqlite-port.ts";

const STATEMENTS_SWEPT_MIN = 64;
/** With file names as URIs (https://www.sqlite.org/uri.html), as node:sqlite has them, so that a file can be attached read-only. */
const READ_WRITE = constants.SQLITE_OPEN_READWRITE | constants.SQLITE_OPEN_CREATE | constants.SQLITE_OPEN_URI;

export function openBunDatabase(file: string, mode?: "readonly"): SqlDatabase {
  const database = new Database(
    file,
    mode === "readonly" ? { readonly: true } : READ_WRITE,
  );
  const statements = new Set<WeakRef<Statement>>();
  let sweepAt = STATEMENTS_SWEPT_MIN;
  const remember = (statement: Statement) => {
    statements.add(new WeakRef(statement));
    if (statements.size < sweepAt) return;
    for (const each of statements) if (each.deref() === undefined) statements.delete(each);
    sweepAt = Math.max(STATEMENTS_SWEPT_MIN, 2 * statements.size);
  };
  return {
    exec: (sql) => void database.run(sql),
    prepare(sql) {
      const statement = database.prepare<Record<string, SqlValue>, SqlValue[]>(sql);
      remember(statement);
      return {
        run: (...values) => statement.run(...values).changes,
        all: (...values) => statement.all(...values),
      };
    },
    close() {
      for (const each of statements) each.deref()?.finalize();
      statements.clear();
      database.close();
    },
  };
}

/**
 * Databases that are closed when they are closed. A statement that has been collected and not yet swept keeps its
 * connection open on Bun, with its locks and its log, for as long as the collector pleases; a seed must not depend on
 * that. So all statements are held until then.
 */
import type { OpenDatabase, SqlStatement } from "../../runtime/sqlite-port.ts";

export function holdStatements(open: OpenDatabase): OpenDatabase {
  return (file, mode) => {
    const database = open(file, mode);
    const held = new Map<string, SqlStatement>();
    return {
      exec: (sql) => database.exec(sql),
      prepare(sql) {
        const statement = held.get(sql) ?? database.prepare(sql);
        held.set(sql, statement);
        return statement;
      },
      close() {
        database.close();
        held.clear();
      },
    };
  };
}

/** SQLite on Bun. */
import { Database } from "bun:sqlite";
import type { SqlDatabase, SqlValue } from "./sqlite-port.ts";

export function openBunDatabase(file: string): SqlDatabase {
  const database = new Database(file, { create: true, readwrite: true });
  return {
    exec: (sql) => void database.run(sql),
    prepare(sql) {
      const statement = database.prepare<Record<string, SqlValue>, SqlValue[]>(sql);
      return {
        run: (...values) => statement.run(...values).changes,
        all: (...values) => statement.all(...values),
      };
    },
    close: () => database.close(),
  };
}

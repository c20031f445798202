/** SQLite on Deno, and on anything else that has node:sqlite. */
import { DatabaseSync } from "node:sqlite";
import type { SqlDatabase, SqlValue } from "./sqlite-port.ts";

export function openNodeDatabase(file: string, mode?: "readonly"): SqlDatabase {
  const database = new DatabaseSync(file, { readOnly: mode === "readonly" });
  return {
    exec: (sql) => database.exec(sql),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        run: (...values) => Number(statement.run(...values).changes),
        all: (...values) => statement.all(...values) as Record<string, SqlValue>[],
      };
    },
    close: () => database.close(),
  };
}

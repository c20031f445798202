/** The little of SQLite that the replica needs, alike on bun:sqlite and node:sqlite. All calls are synchronous. */
export type SqlValue = string | number | null;

export interface SqlStatement {
  /** @returns the number of rows changed */
  run(...values: SqlValue[]): number;
  all(...values: SqlValue[]): Record<string, SqlValue>[];
}

export interface SqlDatabase {
  exec(sql: string): void;
  prepare(sql: string): SqlStatement;
  close(): void;
}

/** @param mode `readonly` neither makes the file nor writes it. Without it, the file is made where missing. */
export type OpenDatabase = (file: string, mode?: "readonly") => SqlDatabase;

/**
 * Brings a database to the schema of this code: the files of `migrations/`, in order, each once, all in one transaction
 * under an advisory lock, so that processes which start together migrate once. Forward only: a database that is newer
 * than the code is refused in words, because the code would misread it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, GodwitError } from "../contract/errors.ts";
import type { Sql, Store } from "./database.ts";

export const MIGRATIONS_FOLDER = join(import.meta.dir, "migrations");
/** Any number will do, if it is always the same: "godwit" in ASCII. */
const migrationLock = 0x676f64776974;

export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
}

/** The files `0001-name.sql`, …, without a gap. */
export function readMigrations(folder: string = MIGRATIONS_FOLDER): Migration[] {
  const migrations = readdirSync(folder).filter((file) => file.endsWith(".sql")).sort().map((file) => ({
    number: Number(file.slice(0, 4)),
    name: file,
    sql: readFileSync(join(folder, file), "utf8"),
  }));
  migrations.forEach((m, i) => assert(m.number === i + 1, `migration ${m.name} is not number ${i + 1}`));
  return migrations;
}

/** Returns the names of the migrations that were applied now. */
export async function migrate(store: Store, migrations = readMigrations()): Promise<string[]> {
  return await store.transaction(async (tx) => {
    await tx`SELECT pg_advisory_xact_lock(${migrationLock})`;
    await tx`CREATE TABLE IF NOT EXISTS schema_migrations (
      number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`;
    const current = await schemaNumber(tx);
    const newest = migrations.length;
    if (current > newest) {
      throw new GodwitError(
        "store.newer_than_code",
        `Cannot use the database: its schema is number ${current}, this version of Godwit knows ${newest}`,
        { fault: "us", hint: "Start the version of Godwit that wrote it, or a newer one." },
      );
    }
    const applied: string[] = [];
    for (const migration of migrations.slice(current)) {
      await tx.unsafe(migration.sql);
      await tx`INSERT INTO schema_migrations (number, name) VALUES (${migration.number}, ${migration.name})`;
      applied.push(migration.name);
    }
    return applied;
  });
}

async function schemaNumber(tx: Sql): Promise<number> {
  const [row] = await tx`SELECT coalesce(max(number), 0) AS number FROM schema_migrations`;
  return row.number;
}

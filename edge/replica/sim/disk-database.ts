/** A real SQLite database on a simulated disk: statements fail as they do there, and a process can end within one. */
import type { SqlDatabase, SqlStatement, SqlValue } from "../../runtime/sqlite-port.ts";
import type { World } from "./world.ts";

export interface DiskFaults {
  /** No room: what writes fails, what reads does not. */
  full: boolean;
  /** Somebody else holds the lock of the database at this path. */
  lockedPath: string | null;
  /** Of calls on files. */
  failureRate: number;
  /** Of statements that write: the process ends just before or just after it. */
  killRate: number;
}

export function noFaults(): DiskFaults {
  return { full: false, lockedPath: null, failureRate: 0, killRate: 0 };
}

export function ioError(message: string): Error {
  return new Error(message);
}

export interface DiskDatabaseOptions {
  readonly path: string;
  readonly real: SqlDatabase;
  readonly world: World;
  readonly faults: DiskFaults;
  readonly onKill: () => void;
  /** All that its log holds is on the disk now. */
  readonly onSync: () => void;
  readonly onClose: (database: DiskDatabase) => void;
}

const WRITES =
  /^\s*(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER|VACUUM|COMMIT|END|PRAGMA user_version =)/i;
const LOCKS = /^\s*(?:BEGIN (?:IMMEDIATE|EXCLUSIVE)|CREATE|DROP|ALTER|VACUUM|PRAGMA user_version =)/i;
/** Where it is there already, SQLite only reads. */
const CREATES = /^\s*CREATE (?:TABLE|INDEX) IF NOT EXISTS (\w+)/i;
const BEGINS = /^\s*BEGIN\b/i;
const COMMITS = /^\s*(?:COMMIT|END)\b/i;
const CHECKPOINTS = /\bwal_checkpoint\b/i;
const SYNCHRONOUS = /\bsynchronous\s*=\s*(\w+)/i;

export class DiskDatabase implements SqlDatabase {
  readonly path: string;
  readonly #options: DiskDatabaseOptions;
  #isEnded = false;
  /** Commits survive a power cut. */
  #isFull = true;

  constructor(options: DiskDatabaseOptions) {
    this.path = options.path;
    this.#options = options;
    try {
      // Only what is asked for is written to the database, so that it is known what a power cut may take.
      options.real.exec("PRAGMA wal_autocheckpoint = 0");
      options.real.exec("PRAGMA synchronous = OFF");
    } catch (error) {
      options.real.close();
      throw error;
    }
  }

  exec(sql: string): void {
    this.#run(sql, () => {
      const synchronous = SYNCHRONOUS.exec(sql)?.[1]?.toUpperCase();
      if (synchronous === undefined) return this.#options.real.exec(sql);
      // The real disk need not wait for what the simulated one decides.
      this.#isFull = ["FULL", "EXTRA", "2", "3"].includes(synchronous);
    });
  }

  prepare(sql: string): SqlStatement {
    if (this.#isEnded) throw new Error("the process has ended");
    const statement = this.#options.real.prepare(sql);
    return {
      run: (...values: SqlValue[]) => this.#run(sql, () => statement.run(...values)),
      all: (...values: SqlValue[]) => this.#run(sql, () => statement.all(...values)),
    };
  }

  close(): void {
    if (this.#isEnded) return;
    this.end();
  }

  /** What was not committed is gone. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    rollBack(this.#options.real);
    this.#options.real.close();
    this.#options.onClose(this);
  }

  #run<T>(sql: string, statement: () => T): T {
    if (this.#isEnded) throw new Error("the process has ended");
    const { faults, world, onSync } = this.#options;
    const writes = WRITES.test(sql) && !this.#isThere(CREATES.exec(sql)?.[1]);
    if (writes) this.#mayEnd("before");
    if (faults.lockedPath === this.path && LOCKS.test(sql) && (writes || BEGINS.test(sql))) {
      world.trace.sometimes("a database was locked");
      throw new Error("database is locked");
    }
    if (faults.full && writes) this.#refuse();
    const result = statement();
    if (CHECKPOINTS.test(sql) || (this.#isFull && COMMITS.test(sql))) onSync();
    if (writes) this.#mayEnd(COMMITS.test(sql) ? "after a commit" : "in a transaction");
    return result;
  }

  #isThere(name: string | undefined): boolean {
    return name !== undefined &&
      this.#options.real.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").all(name).length > 0;
  }

  /** SQLite may have ended the transaction by itself then (https://www.sqlite.org/lang_transaction.html section 3). */
  #refuse(): never {
    const { world, real } = this.#options;
    world.trace.sometimes("a disk was full");
    if (world.chance.happens(0.5)) rollBack(real);
    throw new Error("database or disk is full");
  }

  #mayEnd(when: string): void {
    const { faults, world, onKill } = this.#options;
    if (!world.chance.happens(faults.killRate)) return;
    world.trace.sometimes(`a process ended ${when === "before" ? "before a statement" : when}`);
    onKill();
    throw new Error("the process has ended");
  }
}

function rollBack(database: SqlDatabase): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // There is no transaction.
  }
}

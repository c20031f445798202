/**
 * The worker's own memory: one SQLite file, and one agent that has it open. Write-ahead log with synchronous=FULL,
 * because an intent that a power cut can take back is none. The exclusive lock keeps a second agent of the same host
 * away; the kernel drops it when the first one dies, however it dies.
 *
 * All writes go through `write`: one immediate transaction, and listeners hear of the touched machines only once it is
 * on disk ("nothing is published that is not durable first").
 */
import { Database } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { assert, GodwitError } from "../../contract/errors.ts";
import { MIGRATIONS } from "./migrations.ts";

export interface StoreIdentity {
  readonly host_id: string;
  readonly region: string;
  readonly vmm: "qemu" | "runc" | "firecracker";
}

export interface StoreOptions extends StoreIdentity {
  /** `worker.sqlite`, or `:memory:` in tests of single nouns. */
  readonly file: string;
  readonly now: () => number;
}

export class Store {
  readonly db: Database;
  readonly identity: StoreIdentity;
  readonly now: () => number;
  #touched: Set<string> | null = null;
  readonly #listeners = new Set<(machineIds: ReadonlySet<string>) => void>();

  /** @throws GodwitError `worker.already_running`, `worker.schema_too_new`. */
  constructor(options: StoreOptions) {
    this.identity = { host_id: options.host_id, region: options.region, vmm: options.vmm };
    this.now = options.now;
    this.db = open(options.file);
    migrate(this.db, options.file);
    this.write(() => this.fact("epoch") ?? this.setFact("epoch", String(this.now())));
  }

  /** First part of each version this host publishes: chosen when the database was made, or found to be set back. */
  get epoch(): number {
    return Number(this.fact("epoch"));
  }

  /** Runs `body` in one transaction; its result is durable when this returns. Calls inside calls join the outer one. */
  write<T>(body: () => T): T {
    if (this.#touched !== null) return body();
    const touched = this.#touched = new Set<string>();
    let result: T;
    try {
      result = this.db.transaction(body).immediate();
    } finally {
      this.#touched = null;
    }
    if (touched.size > 0) { for (const listener of this.#listeners) listener(touched); }
    return result;
  }

  /** Notes inside `write` that a machine, or with an empty id the host, has changed. */
  touch(machineId: string): void {
    assert(this.#touched !== null, "touch() outside of write()");
    this.#touched.add(machineId);
  }

  /** Called after each commit that touched something. Returns the function that ends it. */
  onChange(listener: (machineIds: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The next sequence number of this host; call it inside `write`. */
  nextSeq(): number {
    const next = Number(this.fact("seq") ?? 0) + 1;
    this.setFact("seq", String(next));
    return next;
  }

  fact(name: string): string | null {
    const row = this.db.query<{ value: string }, [string]>("SELECT value FROM facts WHERE name = ?").get(
      name,
    );
    return row?.value ?? null;
  }

  setFact(name: string, value: string): string {
    this.db.query("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)").run(name, value);
    return value;
  }

  removeFact(name: string): void {
    this.db.query("DELETE FROM facts WHERE name = ?").run(name);
  }

  close(): void {
    this.db.close();
  }
}

function open(file: string): Database {
  // Made with its mode before SQLite makes it with another: machines' env is in there. The log file inherits it.
  if (file !== ":memory:") closeSync(openSync(file, "a", 0o600));
  const db = new Database(file, { create: true, strict: true });
  try {
    db.run("PRAGMA busy_timeout = 0");
    db.run("PRAGMA locking_mode = EXCLUSIVE");
    db.run("PRAGMA journal_mode = WAL");
    db.run("PRAGMA synchronous = FULL");
    db.run("PRAGMA secure_delete = ON");
    db.run("BEGIN IMMEDIATE; COMMIT");
    return db;
  } catch (error) {
    db.close();
    if (!String((error as { code?: unknown }).code).startsWith("SQLITE_BUSY")) throw error;
    throw new GodwitError("worker.already_running", `Cannot open ${file}: another agent has it`, {
      fault: "us",
      retryable: true,
      hint: "stop the other agent of this host first",
      cause: error,
    });
  }
}

function migrate(db: Database, file: string): void {
  const found = db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
  if (found > MIGRATIONS.length) {
    throw new GodwitError(
      "worker.schema_too_new",
      `Cannot use ${file}: its schema is ${found}, this program knows up to ${MIGRATIONS.length}`,
      { fault: "us", hint: "run the newer version of Godwit that wrote it" },
    );
  }
  for (const [at, sql] of MIGRATIONS.entries()) {
    if (at < found) continue;
    db.transaction(() => {
      db.run(sql);
      db.run(`PRAGMA user_version = ${at + 1}`);
    }).immediate();
  }
}

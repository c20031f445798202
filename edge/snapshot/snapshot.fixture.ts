/** For tests of snapshots: a replica's file with a writer, snapshots of any bytes, a log that can be read. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { pino } from "pino";
import { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import type { OpenDatabase, SqlDatabase } from "../runtime/sqlite-port.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import { SnapshotFolder } from "./folder.ts";

const cleanups: (() => Promise<unknown> | unknown)[] = [];
export function cleanedUp(cleanup: () => Promise<unknown> | unknown): void {
  cleanups.push(cleanup);
}
/** For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "godwit-snapshots-"));
  cleanedUp(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * A log of what a program does with it.
 * @returns lines as they come
 */
export function listeningLog() {
  const lines: Record<string, unknown>[] = [];
  return {
    lines,
    log: pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
  };
}

/** Machines that the writer goes round: batch K writes machine K modulo so many. */
export const MACHINES = 50;

/**
 * The writer of a replica's file. Of batch K on, the row of machine `K % MACHINES` has `seq` K and the stream's position is
 * `K-0`, so that from a position all rows follow.
 */
export class ReplicaWriter {
  readonly database: SqlDatabase;
  batches = 0;
  #closed = false;

  /** @param schema like the replica's own; another one by number, to see that it travels */
  constructor(file: string, open: OpenDatabase = openBunDatabase, schema = 1) {
    const files = new FolderFiles(file, open);
    const database = this.database = files.createNext();
    for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 1000"]) {
      database.exec(`PRAGMA ${pragma}`);
    }
    database.exec(`CREATE TABLE machines (key TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
      seq INTEGER NOT NULL, deleted INTEGER NOT NULL, published_ms INTEGER NOT NULL, row TEXT) WITHOUT ROWID`);
    database.exec("CREATE TABLE streams (name TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID");
    database.exec("CREATE TABLE quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)");
    database.exec("CREATE TABLE history (id INTEGER PRIMARY KEY, row TEXT)");
    database.exec("CREATE INDEX history_of_row ON history (row)");
    database.exec(`PRAGMA user_version = ${schema}`);
    database.prepare("INSERT INTO streams VALUES ('s', '0-0')").run();
    files.takeOver();
    cleanedUp(() => this.close());
  }

  close(): void {
    if (!this.#closed) this.database.close();
    this.#closed = true;
  }

  batch(): void {
    const seq = ++this.batches;
    this.database.exec("BEGIN IMMEDIATE");
    this.database.prepare("INSERT OR REPLACE INTO machines VALUES (?, 'o', 1, ?, 0, ?, ?)")
      .run(`m${seq % MACHINES}`, seq, seq, JSON.stringify({ seq }));
    this.database.prepare("INSERT INTO history (row) VALUES (?)").run(`canary ${seq}`);
    this.database.prepare("UPDATE streams SET position = ?").run(`${seq}-0`);
    this.database.exec("COMMIT");
  }

  /** Rows that are there besides, so that a build takes its time. */
  fill(rows: number, bytes: number): void {
    this.database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
      INSERT INTO machines SELECT 'x' || i, 'o', 1, 1, 0, 1, hex(randomblob(${bytes} / 2)) FROM n`);
  }
}

/** Rows by key, as they have to be at a position. */
export function rowsAt(position: string): Record<string, number> {
  const batches = Number.parseInt(position, 10);
  const rows: Record<string, number> = {};
  for (let seq = Math.max(1, batches - MACHINES + 1); seq <= batches; seq++) rows[`m${seq % MACHINES}`] = seq;
  return rows;
}

/** @returns rows by key and the position, as a replica's file has them */
export function readReplica(path: string, open: OpenDatabase = openBunDatabase) {
  const database = open(path);
  try {
    const all = (sql: string) => database.prepare(sql).all();
    const rows = all("SELECT key, seq FROM machines WHERE key LIKE 'm%'");
    return {
      rows: Object.fromEntries(rows.map(({ key, seq }) => [String(key), Number(seq)])),
      position: String(all("SELECT position FROM streams")[0]?.position),
      check: String(all("PRAGMA integrity_check")[0]?.integrity_check),
      history: Number(all("SELECT count(*) AS n FROM history")[0]?.n),
      schema: Number(all("PRAGMA user_version")[0]?.user_version),
    };
  } finally {
    database.close();
  }
}

export interface AnySnapshot {
  readonly manifest: SnapshotManifest;
  /** What is inside, and what travels. */
  readonly content: Buffer;
  readonly packed: Buffer;
}

/** A snapshot of bytes that are no database: whoever carries it does not look. */
export function anySnapshot(bytes: number, more: Partial<SnapshotManifest> = {}): AnySnapshot {
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(content.subarray(at, at + 65_536));
  const packed = zstdCompressSync(content);
  const sha256 = createHash("sha256").update(packed).digest("hex");
  const manifest = SnapshotManifest.parse({
    ...{ schema: 1, id: sha256.slice(0, 32), created_ms: 1_000, replica_schema: 1, rows: 0 },
    ...{ positions: { s: "1000-0" }, file_bytes: content.length, bytes: packed.length, sha256, ...more },
  });
  return { manifest, content, packed };
}

/** A folder that has these. */
export function folderWith(...snapshots: readonly AnySnapshot[]): SnapshotFolder {
  const folder = new SnapshotFolder(join(newFolder(), "replica.sqlite.snapshots"));
  folder.make();
  for (const { manifest, packed } of snapshots) {
    const draft = join(folder.path, `build-1.zst`);
    writeFileSync(draft, packed);
    folder.add(draft, manifest);
  }
  return folder;
}

/** A small disk of its own; null where this machine lets nobody make one. */
export function smallDisk(bytes: number): string | null {
  const folder = newFolder();
  const made = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder]);
  if (made.exitCode !== 0) return null;
  cleanedUp(() => void Bun.spawnSync(["umount", "-l", folder]));
  return folder;
}

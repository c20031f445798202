/**
 * A disk of one edge: a folder of real files, with real SQLite databases in them. It fills, locks, fails, and loses at a
 * power cut what was not synced: commits at the end of a write-ahead log, and names made or removed in the folder.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import type { OpenDatabase, SqlDatabase } from "../../runtime/sqlite-port.ts";
import { type FileSystem, nodeFiles } from "../file-system.ts";
import { FolderFiles } from "../replica-files.ts";
import { DiskDatabase, type DiskFaults, ioError, noFaults } from "./disk-database.ts";
import type { World } from "./world.ts";

export const REPLICA_FILE = "replica.sqlite";
const FREE_BYTES = 2 ** 40;
const COMPANIONS = ["-wal", "-shm", "-journal"] as const;

/** How a change of a name is taken back. */
type Undo = () => void;

export class Disk {
  readonly file: string;
  readonly faults: DiskFaults = noFaults();
  readonly #world: World;
  readonly #folder: string;
  readonly #trash: string;
  readonly #openReal: OpenDatabase;
  readonly #databases = new Set<DiskDatabase>();
  /** By path: so many bytes of a write-ahead log survive a power cut. */
  readonly #syncedBytes = new Map<string, number>();
  /** Names changed since the folder was last synced, in order. */
  #unsynced: Undo[] = [];
  #trashed = 0;

  constructor(world: World, folder: string, openReal: OpenDatabase) {
    this.#world = world;
    this.#folder = folder;
    this.#trash = `${folder}.trash`;
    this.#openReal = openReal;
    this.file = join(folder, REPLICA_FILE);
    mkdirSync(this.#folder, { recursive: true });
    mkdirSync(this.#trash, { recursive: true });
  }

  /**
   * What one process has of it; nothing any more once that is over, whatever its code still tries on its way out.
   * @param onKill the process ends in the middle of a statement
   */
  filesFor(isOver: () => boolean, onKill: () => void): FolderFiles {
    const alive = <A extends unknown[], R>(call: (...asked: A) => R) => (...asked: A): R => {
      if (isOver()) throw new Error("the process has ended");
      return call(...asked);
    };
    const calls = Object.entries(this.#fileSystem).map((
      [name, call],
    ) => [name, alive(call as (...asked: never[]) => unknown)]);
    const open = alive((path: string) => this.#open(path, onKill));
    return new FolderFiles(this.file, open, Object.fromEntries(calls) as FileSystem);
  }

  #open(path: string, onKill: () => void): SqlDatabase {
    this.#mayFail("open");
    if (!existsSync(path)) {
      if (this.faults.full) throw ioError("unable to open database file");
      this.#unsynced.push(() => this.#removeForGood(path));
    }
    if (![...this.#databases].some((each) => each.path === path)) {
      this.#syncedBytes.set(path, this.#walBytes(path));
    }
    const database = new DiskDatabase({
      path,
      real: this.#openReal(path),
      world: this.#world,
      faults: this.faults,
      onKill,
      onSync: () => this.#syncedBytes.set(path, this.#walBytes(path)),
      onClose: (closed) => this.#databases.delete(closed),
    });
    this.#databases.add(database);
    return database;
  }

  /** The present generation as somebody else sees it who reads it now; null where there is none. */
  observe<T>(look: (database: SqlDatabase) => T): T | null {
    if (!existsSync(this.file)) return null;
    const database = this.#openReal(this.file);
    try {
      for (const pragma of ["wal_autocheckpoint = 0", "synchronous = OFF"]) database.exec(`PRAGMA ${pragma}`);
      return look(database);
    } finally {
      database.close();
    }
  }

  /** The process ended: whatever it had committed is there. */
  endProcess(): void {
    for (const database of [...this.#databases]) database.end();
  }

  /** @returns whether something was lost */
  cutPower(): boolean {
    const { chance } = this.#world;
    let isLost = false;
    const kept = new Map<string, number>();
    for (const { path } of this.#databases) {
      const bytes = this.#walBytes(path);
      kept.set(path, chance.between(Math.min(this.#syncedBytes.get(path) ?? 0, bytes), bytes));
      isLost ||= kept.get(path)! < bytes;
    }
    // Who closes a database last writes its log into it, so what the cut leaves is copied before.
    for (const path of kept.keys()) {
      copyFileSync(path, this.#trashPath(path));
      if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, this.#trashPath(`${path}-wal`));
    }
    this.endProcess();
    for (const [path, bytes] of kept) {
      this.#removeForGood(path);
      renameSync(this.#trashPath(path), path);
      if (!existsSync(this.#trashPath(`${path}-wal`))) continue;
      renameSync(this.#trashPath(`${path}-wal`), `${path}-wal`);
      truncateSync(`${path}-wal`, bytes);
    }
    const undone = chance.between(0, this.#unsynced.length);
    for (const undo of this.#unsynced.splice(this.#unsynced.length - undone).reverse()) undo();
    this.#unsynced = [];
    if (undone > 0) this.#world.trace.sometimes("a power cut took back names of files");
    return isLost || undone > 0;
  }

  /** A file that came from elsewhere, whole. */
  put(from: string, path: string): void {
    this.#mayFail("write");
    if (this.faults.full) throw ioError("write: ENOSPC");
    copyFileSync(from, path);
    this.#unsynced.push(() => this.#removeForGood(path));
  }

  /** Overwrites the database's head. Only while nobody has it open. @returns whether there was one */
  damageHead(): boolean {
    const path = this.presentPath();
    if (path === null) return false;
    const descriptor = openSync(path, "r+");
    writeSync(descriptor, Buffer.alloc(100, 0x5a), 0, 100, 0);
    closeSync(descriptor);
    return true;
  }

  /** Behind SQLite's back, as a flipped byte would be; the process that has it open learns nothing. */
  damageRow(): boolean {
    const { chance } = this.#world;
    const change = chance.pick(["DELETE FROM", "UPDATE"]);
    return this.observe((database) => {
      const table = chance.pick(["hostnames", "apps", "machines"]);
      const keys = database.prepare(`SELECT key FROM ${table} WHERE deleted = 0 ORDER BY key`).all();
      if (keys.length === 0) return false;
      const { key } = chance.pick(keys);
      const set = change === "UPDATE" ? `SET row = replace(row, 'app', 'bpp')` : "";
      database.prepare(`${change} ${table} ${set} WHERE key = ?`).run(key!);
      return true;
    }) ?? false;
  }

  presentPath(): string | null {
    if (nodeFiles.kindOf(this.file) !== "link") return null;
    const path = join(this.#folder, basename(readlinkSync(this.file)));
    return existsSync(path) ? path : null;
  }

  /** For the trace, which must not know where this run's folder is. */
  withoutPaths(message: string): string {
    return message.replaceAll(this.#folder, "");
  }

  /** Names in the folder. */
  names(): string[] {
    return nodeFiles.list(this.#folder);
  }

  #mayFail(call: string): void {
    if (!this.#world.chance.happens(this.faults.failureRate)) return;
    this.#world.trace.sometimes("a call on files failed");
    throw ioError(`${call}: EIO`);
  }
  #walBytes(path: string): number {
    return existsSync(`${path}-wal`) ? statSync(`${path}-wal`).size : 0;
  }
  #trashPath(path: string): string {
    return join(this.#trash, basename(path));
  }
  #removeForGood(path: string): void {
    for (const each of [path, ...COMPANIONS.map((companion) => path + companion)]) {
      rmSync(each, { force: true });
    }
  }

  // ── names in the folder ────────────────────────────────────────────────────────────────────────────────────────

  readonly #fileSystem: FileSystem = {
    kindOf: (path) => nodeFiles.kindOf(path),
    readLink: (path) => nodeFiles.readLink(path),
    list: (folder) => nodeFiles.list(folder),
    freeBytes: () => this.faults.full ? 0 : FREE_BYTES,
    link: (path, second) => {
      this.#mayMake("link");
      nodeFiles.link(path, second);
      this.#unsynced.push(() => rmSync(second, { force: true }));
    },
    symlink: (target, path) => {
      this.#mayMake("symlink");
      nodeFiles.symlink(target, path);
      this.#unsynced.push(() => rmSync(path, { force: true }));
    },
    rename: (from, to) => {
      this.#mayFail("rename");
      const before = nodeFiles.kindOf(to) === "link" ? readlinkSync(to) : null;
      const moved = nodeFiles.readLink(from);
      nodeFiles.rename(from, to);
      this.#unsynced.push(() => {
        rmSync(to, { force: true });
        if (before !== null) symlinkSync(before, to);
        symlinkSync(moved, from);
      });
    },
    remove: (path) => {
      this.#mayFail("remove");
      const kind = nodeFiles.kindOf(path);
      if (kind === null) return;
      if (kind === "link") {
        const target = readlinkSync(path);
        nodeFiles.remove(path);
        return void this.#unsynced.push(() => symlinkSync(target, path));
      }
      const trashed = join(this.#trash, `removed-${this.#trashed++}`);
      renameSync(path, trashed);
      this.#unsynced.push(() => renameSync(trashed, path));
    },
    syncFolder: () => {
      this.#mayFail("fsync");
      this.#unsynced = [];
      rmSync(this.#trash, { recursive: true, force: true });
      mkdirSync(this.#trash);
    },
  };

  #mayMake(call: string): void {
    this.#mayFail(call);
    if (this.faults.full) throw ioError(`${call}: ENOSPC`);
  }
}

/**
 * A replica's generations on disk. `FILE` is a link to `FILE.N`, the present one; `FILE.aside` is a link to a damaged one
 * that is kept; the next is built as `FILE.N+1`, and one rename of a link makes it the present. So whoever opens `FILE`
 * finds a whole database at any moment, and no database ever changes its name: SQLite finds a write-ahead log by name, and
 * the last to close a database removes what has that name by then.
 *
 * For the same reason nothing here opens a database but SQLite: closing any other descriptor of the file would drop the
 * locks that this process has on it (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
 *
 * A database at `FILE` itself, as earlier versions made it, gets the name `FILE.1` besides, then a link in its place.
 */
import { basename, dirname, join } from "node:path";
import type { OpenDatabase, SqlDatabase } from "../runtime/sqlite-port.ts";
import { type FileSystem, nodeFiles } from "./file-system.ts";
import type { ReplicaFiles } from "./ports.ts";

/** What SQLite keeps beside a database. */
const COMPANIONS = ["-wal", "-shm", "-journal"] as const;

export class FolderFiles implements ReplicaFiles {
  readonly #file: string;
  readonly #folder: string;
  readonly #open: OpenDatabase;
  readonly #files: FileSystem;
  /** A link was renamed and the folder could not be synced since: after a power cut the earlier one may be present. */
  #unsynced = true;

  /** @param file the link's path, `replica_file` of the configuration; its folder exists */
  constructor(file: string, open: OpenDatabase, files: FileSystem = nodeFiles) {
    this.#file = file;
    this.#folder = dirname(file);
    this.#open = open;
    this.#files = files;
  }

  openCurrent(): SqlDatabase | null {
    this.#adopt();
    const present = this.#present();
    return present === null ? null : this.#openAt(this.#pathOf(present));
  }

  createNext(): SqlDatabase {
    this.#adopt();
    const path = this.nextPath;
    this.#removeDatabase(path);
    return this.#open(path);
  }

  get nextPath(): string {
    // Beyond what a link to nothing names too, which would otherwise come to life with the first of its name.
    return this.#pathOf(1 + Math.max(this.#named(this.#file) ?? 0, this.#named(this.#asidePath) ?? 0));
  }

  openNext(): SqlDatabase {
    return this.#openAt(this.nextPath);
  }

  takeOver(): string | null {
    const next = this.nextPath;
    const earlier = this.#present();
    const database = this.#openAt(next);
    try {
      // Whatever it was written with, it is on the disk before a link says so.
      database.exec("PRAGMA wal_checkpoint(PASSIVE)");
    } finally {
      database.close();
    }
    this.#files.syncFolder(this.#folder);
    this.#setLink(this.#file, next);
    return earlier === null ? null : this.#pathOf(earlier);
  }

  setAside(path: string): void {
    this.#setLink(this.#asidePath, path);
  }

  prune(): void {
    if (this.#unsynced) this.#files.syncFolder(this.#folder);
    this.#unsynced = false;
    const kept = [this.#named(this.#file), this.#named(this.#asidePath)];
    const name = basename(this.#file);
    for (const found of this.#files.list(this.#folder)) {
      if (!found.startsWith(`${name}.`)) continue;
      const [, digits] = /^(\d+)(?:[-.].*)?$/.exec(found.slice(name.length + 1)) ?? [];
      if (digits !== undefined && !kept.includes(Number(digits))) {
        this.#files.remove(join(this.#folder, found));
      }
    }
    this.#files.remove(this.#newLinkPath);
    if (this.#files.kindOf(this.#file) !== "link") return;
    for (const companion of COMPANIONS) this.#files.remove(this.#file + companion);
  }

  freeBytes(): number {
    return this.#files.freeBytes(this.#folder);
  }

  // ── names ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get #asidePath(): string {
    return `${this.#file}.aside`;
  }
  /** A link before it is renamed to its place. */
  get #newLinkPath(): string {
    return `${this.#file}.link`;
  }
  #pathOf(generation: number): string {
    return `${this.#file}.${generation}`;
  }

  #present(): number | null {
    const named = this.#named(this.#file);
    return named !== null && this.#files.kindOf(this.#pathOf(named)) === "file" ? named : null;
  }

  /** The generation that a link names; null where there is no link to one. */
  #named(link: string): number | null {
    if (this.#files.kindOf(link) !== "link") return null;
    const target = basename(this.#files.readLink(link));
    const name = `${basename(this.#file)}.`;
    const digits = target.startsWith(name) ? target.slice(name.length) : "";
    return /^\d{1,15}$/.test(digits) ? Number(digits) : null;
  }

  // ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #setLink(path: string, target: string): void {
    this.#files.remove(this.#newLinkPath);
    this.#files.symlink(basename(target), this.#newLinkPath);
    this.#files.rename(this.#newLinkPath, path);
    // It counts from here on, and a power cut that undid it would find the earlier one, because nothing is removed before
    // the folder is synced. So a failure to do so now is no failure to take over.
    this.#unsynced = true;
    try {
      this.#files.syncFolder(this.#folder);
      this.#unsynced = false;
    } catch {
      // prune() syncs, and says so where it cannot.
    }
  }

  /** SQLite looks at a file when it is first read, and makes one that is missing; both are for here to notice. */
  #openAt(path: string): SqlDatabase {
    if (this.#files.kindOf(path) !== "file") throw new Error(`${path} is not there`);
    const database = this.#open(path);
    try {
      database.prepare("PRAGMA schema_version").all();
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  }

  #removeDatabase(path: string): void {
    for (const companion of COMPANIONS) this.#files.remove(path + companion);
    this.#files.remove(path);
  }

  /** Second names first, and all of them, since processes of the earlier version may have the database open. */
  #adopt(): void {
    if (this.#files.kindOf(this.#file) !== "file") return;
    const path = this.nextPath;
    this.#removeDatabase(path);
    for (const companion of COMPANIONS) {
      if (this.#files.kindOf(this.#file + companion) === "file") {
        this.#files.link(this.#file + companion, path + companion);
      }
    }
    this.#files.link(this.#file, path);
    this.#files.syncFolder(this.#folder);
    this.#setLink(this.#file, path);
  }
}

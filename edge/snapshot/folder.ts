/**
 * A replica's snapshots on disk, in `FILE.snapshots/`: `ID.zst` is one, `ID.json` its manifest. The manifest comes last and
 * goes first, so that what has one is whole. Everything else in there is unfinished: `build-*` of a builder, `part-*` of a
 * download (download.ts).
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { nodeFiles } from "../replica/file-system.ts";

/** The newest so many stay. Two, so that a download that began before the last was built finds its own to the end. */
export const SNAPSHOTS_KEPT = 2;
const MANIFEST_BYTES_MAX = 262_144;

export function snapshotFolderOf(replicaFile: string): string {
  return `${replicaFile}.snapshots`;
}

export class SnapshotFolder {
  readonly path: string;
  /** How often each is being served. */
  readonly #held = new Map<string, number>();

  constructor(path: string) {
    this.path = path;
  }

  make(): void {
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
  }

  /** The newest first; those alone that are whole. */
  list(): SnapshotManifest[] {
    return this.#names().flatMap((name) => {
      const manifest = name.endsWith(".json") ? this.find(name.slice(0, -".json".length)) : null;
      return manifest === null ? [] : [manifest];
    }).sort((one, two) => two.created_ms - one.created_ms || (one.id < two.id ? -1 : 1));
  }

  /** @param id must be of its form, since it becomes part of a path */
  find(id: string): SnapshotManifest | null {
    if (!/^[0-9a-f]{16,64}$/.test(id)) return null;
    try {
      const path = join(this.path, `${id}.json`);
      if (statSync(path).size > MANIFEST_BYTES_MAX) return null;
      const manifest = SnapshotManifest.parse(JSON.parse(readFileSync(path, "utf8")));
      return manifest.id === id && statSync(this.dataPath(id)).size === manifest.bytes ? manifest : null;
    } catch {
      // Gone, or not of its form: not one that anybody can have; tidy() removes what is left of it.
      return null;
    }
  }

  dataPath(id: string): string {
    return join(this.path, `${id}.zst`);
  }

  /** Takes in what a builder has made, durably. @param packed synced to disk, in this folder */
  add(packed: string, manifest: SnapshotManifest): void {
    const draft = `${packed}.json`;
    writeFileSync(draft, JSON.stringify(manifest), { mode: 0o600 });
    const descriptor = openSync(draft, "r+");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(packed, this.dataPath(manifest.id));
    renameSync(draft, join(this.path, `${manifest.id}.json`));
    nodeFiles.syncFolder(this.path);
  }

  /** It stays until the function that is returned has been called. */
  hold(id: string): () => void {
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const holders = this.#held.get(id)! - 1;
      if (holders === 0) this.#held.delete(id);
      else this.#held.set(id, holders);
    };
  }

  /** Removes older ones, damaged ones and unfinished ones. No builder may be at work. */
  tidy(kept = SNAPSHOTS_KEPT): void {
    const whole = this.list();
    const ids = new Set(whole.slice(0, kept).map(({ id }) => id));
    for (const id of this.#held.keys()) ids.add(id);
    const names = this.#names().filter((name) => !name.startsWith("part-"));
    // Manifests first.
    for (const ending of [".json", ""]) {
      for (const name of names) {
        if (!name.endsWith(ending) || ids.has(name.replace(/\.(json|zst)$/, ""))) continue;
        rmSync(join(this.path, name), { force: true, recursive: true });
      }
    }
  }

  /** The oldest that somebody may begin with; a tombstone that is newer has to stay. */
  oldestInUse(): SnapshotManifest | null {
    return this.list().at(-1) ?? null;
  }

  #names(): string[] {
    try {
      return readdirSync(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }
}

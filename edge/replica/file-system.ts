/** The calls on files that decide which generation of a replica is there; apart, so that a test can fail each of them. */
import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statfsSync,
  symlinkSync,
} from "node:fs";

export interface FileSystem {
  /** What stands at the path itself, links not followed; null where nothing does. */
  kindOf(path: string): "file" | "link" | "other" | null;
  readLink(path: string): string;
  /** Names. */
  list(folder: string): string[];
  /** A second name for the same file. */
  link(path: string, second: string): void;
  symlink(target: string, path: string): void;
  /** Replaces what is there. */
  rename(from: string, to: string): void;
  /** One that is not there is as good. */
  remove(path: string): void;
  /** Names made and removed in it so far survive a power cut. */
  syncFolder(folder: string): void;
  freeBytes(folder: string): number;
}

export const nodeFiles: FileSystem = {
  kindOf(path) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return null;
    return found.isSymbolicLink() ? "link" : found.isFile() ? "file" : "other";
  },
  readLink: (path) => readlinkSync(path),
  list: (folder) => readdirSync(folder),
  link: (path, second) => linkSync(path, second),
  symlink: (target, path) => symlinkSync(target, path),
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rmSync(path, { force: true }),
  syncFolder(folder) {
    const descriptor = openSync(folder, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  },
  freeBytes(folder) {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  },
};

/**
 * What a replica needs of the world: the streams, a disk, those who serve snapshots, time and chance. Redis, files and
 * HTTP stand behind these in life, a seeded world in the simulation; nothing in this folder reaches around them.
 */
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";
import type { StreamInfo } from "./stream-gap.ts";

/** The server of the state streams. */
export interface StateStreams {
  /** Rejects where it cannot be reached, or does not answer in time. */
  connect(): Promise<StreamSession>;
}

/** One connection. Each call rejects once it is lost, and then no other may be made. */
export interface StreamSession {
  /** Names of all region streams that exist. */
  regionStreams(): Promise<string[]>;
  /** Null where the stream does not exist. */
  info(stream: string): Promise<StreamInfo | null>;
  /**
   * Entries after each stream's position, oldest first; empty where there was none for `blockMs`.
   * @param countMax for each stream
   */
  read(positions: ReadonlyMap<string, string>, countMax: number, blockMs: number): Promise<StreamEntries[]>;
  close(): void;
}

export interface StreamEntries {
  readonly stream: string;
  readonly entries: readonly { readonly id: string; readonly fields: readonly string[] }[];
}

/**
 * The replica's files. `FILE` is a link to the present generation, `FILE.N`; a new one is built beside it and takes over
 * by one rename of a link. No database is renamed while somebody may have it open: the last one to close it would
 * remove the write-ahead log of whatever has its name by then.
 */
export interface ReplicaFiles {
  /** Opens the present generation; null where there is none. Throws where SQLite cannot read its head. */
  openCurrent(): SqlDatabase | null;
  /** An empty database of the next generation; an unfinished earlier one is removed. */
  createNext(): SqlDatabase;
  /** Where the next generation's file is to be put by somebody else (a snapshot's bytes), and then opened. */
  readonly nextPath: string;
  openNext(): SqlDatabase;
  /**
   * The next generation becomes the present one, durably. Both may be open; a power cut may still find the earlier one
   * until `prune` has removed it. Throws where nothing has changed. @returns the earlier one's path, null if none
   */
  takeOver(): string | null;
  /** Keeps a damaged generation aside for whoever wants to look at it: the newest such, and no other. */
  setAside(path: string): void;
  /**
   * Removes generations that are neither present nor aside, an unfinished next one too. A reader that has opened one of
   * them and has read nothing yet will meet an error; it opens the link again.
   */
  prune(): void;
  /** Free bytes of the file system. */
  freeBytes(): number;
}

/** Those who serve snapshots. */
export interface SnapshotSources {
  /** Newest first, of all sources that can be reached within a time limit; none: empty. */
  list(): Promise<SnapshotOffer[]>;
  /**
   * Puts the snapshot's database to `path`, whole and with the right checksum, resuming what was broken off.
   * Rejects with a GodwitError `replica.snapshot_*`.
   */
  fetch(offer: SnapshotOffer, path: string): Promise<void>;
}

export interface SnapshotOffer {
  /** Who serves it, to be shown to people; no secrets. */
  readonly source: string;
  readonly manifest: SnapshotManifest;
}

export interface ReplicaWorld {
  readonly streams: StateStreams;
  readonly files: ReplicaFiles;
  readonly snapshots: SnapshotSources;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Resolves after `ms`, or at once when the signal is aborted. */
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/**
 * Has a snapshot built when it is due, in a process of its own: to copy and compress takes seconds, in which the replicator
 * would follow nothing. A builder that fails or hangs costs nothing but its snapshot.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import type { ChildProcess } from "../workers/child-process.ts";
import { TOMBSTONE_AGE_MS_MAX } from "./build.ts";
import type { SnapshotFolder } from "./folder.ts";
import { nextBuildMs, type ScheduleState } from "./schedule.ts";

/** A builder that takes longer is ended. */
export const BUILD_MS_MAX = 900_000;
/** How often it is looked whether one is due. */
export const LOOK_INTERVAL_MS = 5_000;

export interface ToBuilder {
  readonly type: "build";
  readonly replicaFile: string;
  readonly tombstoneAgeMsMax: number;
}
export type FromBuilder =
  | { readonly type: "built"; readonly manifest: SnapshotManifest }
  /** No stream has moved since the newest one. */
  | { readonly type: "unchanged" }
  | { readonly type: "failed"; readonly code: string; readonly message: string };
export type BuilderProcess = ChildProcess<ToBuilder, FromBuilder>;

export interface SnapshotKeeperOptions {
  readonly replicaFile: string;
  readonly folder: SnapshotFolder;
  readonly intervalMs: number;
  readonly fork: () => BuilderProcess;
  readonly log: Logger;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
  /** @default TOMBSTONE_AGE_MS_MAX */
  readonly tombstoneAgeMsMax?: number;
  /** @default BUILD_MS_MAX */
  readonly buildMsMax?: number;
  /** @default LOOK_INTERVAL_MS */
  readonly lookIntervalMs?: number;
}

export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  #timer: ReturnType<typeof setInterval> | null = null;
  #child: BuilderProcess | null = null;
  #running: Promise<void> = Promise.resolve();
  #state: ScheduleState;
  #stopping = false;
  #built = 0;
  #failed = 0;
  #lastError: string | null = null;

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options;
    const { folder, intervalMs, nowMs, wallMs, random } = options;
    const startedMs = nowMs();
    const newest = readable(() => folder.list()[0]) ?? null;
    this.#state = {
      intervalMs,
      startedMs,
      // A clock that was set back makes none younger than new.
      builtMs: newest === null ? null : startedMs - Math.max(0, wallMs() - newest.created_ms),
      rows: newest?.rows ?? 0,
      rowsChanged: 0,
      failures: 0,
      triedMs: startedMs,
      drawn: random(),
    };
  }

  /** The replica has caught up: what is built from now on is worth it. */
  start(): void {
    this.#timer = setInterval(() => {
      if (this.#child === null && this.#options.nowMs() >= nextBuildMs(this.#state)) this.build();
    }, this.#options.lookIntervalMs ?? LOOK_INTERVAL_MS);
  }

  changed(rows: number): void {
    this.#state = { ...this.#state, rowsChanged: this.#state.rowsChanged + rows };
  }

  /** Builds one now, unless one is being built. Resolves when that has ended, however it did. */
  build(): Promise<void> {
    if (this.#child === null) this.#running = this.#run();
    return this.#running;
  }

  status() {
    const { nowMs, folder } = this.#options;
    const newest = readable(() => folder.list()[0]) ?? null;
    return {
      newest: newest === null ? null : { id: newest.id, created_ms: newest.created_ms, rows: newest.rows },
      building: this.#child !== null,
      next_in_ms: Math.max(0, Math.round(nextBuildMs(this.#state) - nowMs())),
      built: this.#built,
      failed: this.#failed,
      last_error: this.#lastError,
    };
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#child?.kill("SIGKILL");
    await this.#running;
  }

  async #run(): Promise<void> {
    const { folder, fork, log, replicaFile, buildMsMax } = this.#options;
    const { tombstoneAgeMsMax = TOMBSTONE_AGE_MS_MAX } = this.#options;
    // What changes from here on may be missing in it.
    const rowsChanged = this.#state.rowsChanged;
    const startedMs = this.#options.nowMs();
    const heard: { said: FromBuilder | null } = { said: null };
    try {
      // What an earlier builder left behind takes up the room that this one needs.
      folder.tidy();
      const child = this.#child = fork();
      child.onMessage((message) => {
        heard.said = message;
        // It waits for that, so that what it says comes before its end.
        child.kill("SIGKILL");
      });
      child.send({ type: "build", replicaFile, tombstoneAgeMsMax });
      const timer = setTimeout(() => child.kill("SIGKILL"), buildMsMax ?? BUILD_MS_MAX);
      const how = await child.exited;
      clearTimeout(timer);
      heard.said ??= failed(`its builder ended: ${how}`);
      folder.tidy();
    } catch (error) {
      heard.said ??= failed(messageOf(error));
    }
    this.#child = null;
    const { said } = heard;
    this.#heard(said, rowsChanged, startedMs);
    const took_ms = Math.round(this.#options.nowMs() - startedMs);
    if (said.type === "failed" && !this.#stopping) {
      log.warn(
        { code: said.code, err: said.message, failures: this.#state.failures },
        "no snapshot was built",
      );
    } else if (said.type === "built") {
      const { id, rows, file_bytes, bytes } = said.manifest;
      log.info({ snapshot: id, rows, file_bytes, bytes, took_ms }, "snapshot built");
    }
  }

  #heard(said: FromBuilder, rowsChanged: number, startedMs: number): void {
    const triedMs = this.#options.nowMs();
    const drawn = this.#options.random();
    if (said.type === "failed") {
      this.#failed++;
      this.#lastError = said.message;
      this.#state = { ...this.#state, failures: this.#state.failures + 1, triedMs, drawn };
      return;
    }
    this.#lastError = null;
    if (said.type === "built") this.#built++;
    this.#state = {
      ...this.#state,
      ...{ builtMs: startedMs, failures: 0, triedMs, drawn },
      rows: said.type === "built" ? said.manifest.rows : this.#state.rows,
      rowsChanged: this.#state.rowsChanged - rowsChanged,
    };
  }
}

function failed(message: string): FromBuilder {
  return { type: "failed", code: "replica.snapshot_build_failed", message };
}

/** A folder that cannot be read has none. */
function readable<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

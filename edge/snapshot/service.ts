/** What a replicator does for others: has snapshots built of its replica, and serves them. None of it may hold it up. */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import type { EdgeRows } from "../../control/contract/process-config.ts";
import { SnapshotFolder, snapshotFolderOf } from "./folder.ts";
import { type BuilderProcess, SnapshotKeeper } from "./keeper.ts";
import { INTERVAL_MS_DEFAULT } from "./schedule.ts";
import { SnapshotServer } from "./server.ts";
import { readSnapshotToken } from "./token.ts";

/** An address that is taken is tried again: the replicator before this one may still have it. */
export const LISTEN_WAIT_MS_MIN = 500;
export const LISTEN_WAIT_MS_MAX = 30_000;

export interface SnapshotServiceOptions {
  readonly rows: EdgeRows & { readonly from: "redis" };
  readonly fork: () => BuilderProcess;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export class SnapshotService {
  readonly #options: SnapshotServiceOptions;
  readonly #keeper: SnapshotKeeper;
  readonly #folder: SnapshotFolder;
  readonly #listen: { readonly address: string; readonly port: number };
  readonly #stop = new AbortController();
  #server: SnapshotServer | null = null;
  #listening: Promise<void> = Promise.resolve();
  #port: number | null = null;
  #lastError: string | null = null;

  /** @returns null where the configuration has no listener for it */
  static of(options: SnapshotServiceOptions): SnapshotService | null {
    const { snapshots_listen: listen } = options.rows;
    return listen === undefined ? null : new SnapshotService(options, listen);
  }

  private constructor(options: SnapshotServiceOptions, listen: { address: string; port: number }) {
    const { rows, fork, log, nowMs, wallMs, random } = options;
    this.#options = options;
    this.#listen = listen;
    this.#folder = new SnapshotFolder(snapshotFolderOf(rows.replica_file));
    const intervalMs = rows.snapshot_interval_s === undefined
      ? INTERVAL_MS_DEFAULT
      : rows.snapshot_interval_s * 1_000;
    this.#keeper = new SnapshotKeeper({
      ...{ replicaFile: rows.replica_file, folder: this.#folder, intervalMs },
      ...{ fork, log, nowMs, wallMs, random },
      ...(rows.tombstones_kept_s === undefined ? {} : { tombstoneAgeMsMax: rows.tombstones_kept_s * 1_000 }),
    });
  }

  /** Serves what there is from before. */
  start(): void {
    this.#listening = this.#keepTrying();
  }
  caughtUp(): void {
    this.#keeper.start();
  }
  changed(rows: number): void {
    this.#keeper.changed(rows);
  }

  status() {
    return {
      port: this.#port,
      listen_error: this.#lastError,
      ...this.#keeper.status(),
      ...(this.#server?.status() ?? {}),
    };
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#listening, this.#keeper.stop()]);
    await this.#server?.stop();
  }

  async #keepTrying(): Promise<void> {
    const { log, pause, random, rows } = this.#options;
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        // Read anew each time: an operator may have put it there meanwhile.
        const tokenFile = rows.snapshot_token_file;
        const token = tokenFile === undefined ? null : readSnapshotToken(tokenFile);
        const server = new SnapshotServer({ folder: this.#folder, listen: this.#listen, token, log });
        this.#port = await server.listen();
        this.#server = server;
        this.#lastError = null;
        log.info({ address: this.#listen.address, port: this.#port }, "serving snapshots");
        return;
      } catch (error) {
        this.#lastError = messageOf(error);
        if (failures === 0) log.error({ err: this.#lastError }, "snapshots are not served; following on");
        const ceiling = Math.min(LISTEN_WAIT_MS_MAX, LISTEN_WAIT_MS_MIN * 2 ** Math.min(failures, 10));
        await pause(ceiling / 2 + random() * ceiling / 2, this.#stop.signal);
      }
    }
  }
}

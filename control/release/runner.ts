/**
 * Runs what is unfinished: releases, deletions of apps, machines to destroy. Work is found in Postgres, so that it does
 * not matter which process accepted it, or died over it. Who works on what is held by session advisory locks on one
 * connection: Postgres frees them at the moment a process is gone. A claim number on the release fences off a runner
 * that lost its connection without noticing (control/release/deployment.ts).
 */
import { GodwitError, messageOf } from "../contract/errors.ts";
import { type App, appById, appsDeleting } from "../store/apps.ts";
import type { OwnConnection } from "../store/database.ts";
import { dropOldKeys } from "../store/idempotency-keys.ts";
import { machinesToDestroy } from "../store/machines.ts";
import { claimRelease, releasesUnfinished } from "../store/releases.ts";
import { dropExpiredRevocations } from "../store/tokens-revoked.ts";
import { finishDeletion } from "./delete-app.ts";
import { deploy, mustBeLeft, RunnerStopped } from "./deploy.ts";
import { appDeleted, Deployment, type DeployTools } from "./deployment.ts";
import { destroyMachine } from "./destroy-machine.ts";

export const RUNNER_SWEEP_MS = 2_000;
/** Releases and deletions under way in one process. */
export const TASKS_MAX = 16;
export const REAP_BATCH_MAX = 20;
const housekeepingMs = 3_600_000;

export interface RunnerOptions extends DeployTools {
  readonly onRelease?: (end: "succeeded" | "failed") => void;
  /** @default RUNNER_SWEEP_MS */
  readonly sweepMs?: number;
}

interface Task {
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

export class Runner {
  readonly #options: RunnerOptions;
  readonly #tasks = new Map<string, Task>();
  /** The running release of each app. */
  readonly #releases = new Map<string, AbortController>();
  readonly #ended = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();
  #locks: OwnConnection | null = null;
  #stopping = false;
  #housekeptMs = 0;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#run().then(this.#ended.resolve, this.#ended.reject);
  }

  /** There may be new work. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Leaves what is under way as it stands, for the next runner. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#leaveAll();
    this.wake();
    await this.#ended.promise;
    await Promise.all([...this.#tasks.values()].map((task) => task.done));
    await this.#dropLocks();
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#wake = Promise.withResolvers<void>();
      try {
        await this.#sweep();
      } catch (error) {
        // The locks went with the connection: somebody else may have them by now.
        this.#options.log("warn", `runner: ${messageOf(error)}`, {});
        this.#leaveAll();
        await this.#dropLocks();
      }
      const timer = setTimeout(() => this.wake(), this.#options.sweepMs ?? RUNNER_SWEEP_MS);
      if (!this.#stopping) await this.#wake.promise;
      clearTimeout(timer);
    }
  }

  async #sweep(): Promise<void> {
    const { store } = this.#options;
    this.#locks ??= await store.ownConnection();
    await this.#locks.sql`SELECT 1`;
    const deleting = await store.read((sql) => appsDeleting(sql, TASKS_MAX));
    for (const app of deleting) this.#stopReleaseOf(app);
    for (const id of await store.read((sql) => releasesUnfinished(sql, TASKS_MAX * 4))) {
      await this.#take(`release/${id}`, (abort) => this.#runRelease(id, abort));
    }
    for (const app of deleting) await this.#take(`app/${app.id}`, () => this.#runDeletion(app));
    await this.#take("reaper", () => this.#reap());
    await this.#keepHouse();
  }

  /** Runs `work` beside the sweep, if nobody has it under way. */
  async #take(name: string, work: (abort: AbortController) => Promise<string | void>): Promise<void> {
    if (this.#stopping || this.#tasks.has(name) || this.#tasks.size >= TASKS_MAX) return;
    const locks = this.#locks!.sql;
    const [row] = await locks`SELECT pg_try_advisory_lock(hashtextextended(${name}, 0)) AS taken`;
    if (row.taken !== true) return;
    const abort = new AbortController();
    const done = work(abort).then(() => {}, (error) => this.#left(name, error)).finally(async () => {
      this.#tasks.delete(name);
      // Freed with the connection if that is gone.
      await locks`SELECT pg_advisory_unlock(hashtextextended(${name}, 0))`.catch(() => {});
    });
    this.#tasks.set(name, { abort, done });
  }

  #left(name: string, error: unknown): void {
    if (error instanceof RunnerStopped) return;
    const level = mustBeLeft(error) || error instanceof GodwitError ? "warn" : "error";
    this.#options.log(level, `${name} is left for later: ${messageOf(error)}`, {});
  }

  async #runRelease(id: string, abort: AbortController): Promise<void> {
    const { store } = this.#options;
    const taken = await store.transaction(async (tx) => {
      const claimed = await claimRelease(tx, id);
      return claimed === null ? null : { ...claimed, app: (await appById(tx, claimed.release.appId))! };
    });
    if (taken === null) return;
    this.#releases.set(taken.app.id, abort);
    try {
      const end = await deploy(new Deployment(this.#options, { ...taken, signal: abort.signal }));
      this.#options.onRelease?.(end);
    } finally {
      this.#releases.delete(taken.app.id);
      this.wake();
    }
  }

  #stopReleaseOf(app: App): void {
    this.#releases.get(app.id)?.abort(appDeleted(app.name));
  }

  async #runDeletion(app: App): Promise<void> {
    const unfinished = await this.#options.store.read((sql) =>
      sql`SELECT 1 FROM releases WHERE app_id = ${app.id} AND status IN ('pending', 'running')`
    );
    if (unfinished.length === 0) await finishDeletion(this.#options, app);
  }

  async #reap(): Promise<void> {
    const lines = await this.#options.store.read((sql) => machinesToDestroy(sql, REAP_BATCH_MAX));
    await Promise.all(lines.map((line) => destroyMachine(this.#options, line)));
  }

  async #keepHouse(): Promise<void> {
    if (this.#options.now() - this.#housekeptMs < housekeepingMs) return;
    this.#housekeptMs = this.#options.now();
    await this.#options.store.read(dropOldKeys);
    await this.#options.store.read(dropExpiredRevocations);
  }

  #leaveAll(): void {
    for (const task of this.#tasks.values()) task.abort.abort(new RunnerStopped());
  }

  async #dropLocks(): Promise<void> {
    const locks = this.#locks;
    this.#locks = null;
    // Where it fails, the connection is already gone with its server.
    await locks?.close().catch(() => {});
  }
}

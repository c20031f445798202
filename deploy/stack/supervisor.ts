/**
 * Keeps the parts of a stack running: starts them in order, starts again those that die (with growing, capped waits), and
 * stops them in reverse. VMs are not its children: they outlive it, the worker and everything but `down`.
 */
import { existsSync, readdirSync, renameSync, statSync, truncateSync } from "node:fs";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../control/contract/errors.ts";
import { pause } from "../../control/worker/backoff.ts";
import type { Server } from "../servers/child.ts";
import { recordOf, removeRecord, writeRecord } from "./identity.ts";
import type { Part } from "./parts.ts";

export const RESTART_WAIT_MS_FIRST = 200;
export const RESTART_WAIT_MS_MAX = 10_000;
/** A part that ran this long has proven itself: its next restart waits the first wait again. */
export const PROVEN_AFTER_MS = 30_000;
export const LOG_BYTES_MAX = 16 * 1_048_576;

export type PartState = "waiting" | "starting" | "running" | "restarting" | "failed" | "stopped";
export interface PartStatus {
  readonly name: string;
  readonly state: PartState;
  readonly pid: number | null;
  readonly restarts: number;
  readonly log: string;
  readonly error: { readonly message: string } | null;
}
export type SupervisorState = "starting" | "running" | "failed" | "stopping" | "stopped";
export interface SupervisorStatus {
  readonly state: SupervisorState;
  readonly pid: number;
  readonly parts: readonly PartStatus[];
}

interface Kept {
  readonly part: Part;
  state: PartState;
  server: Server | null;
  pid: number | null;
  restarts: number;
  failures: number;
  error: string | null;
}

/** Pure: how long to wait before start number `failures + 1` in a row. */
export function restartWaitMs(failures: number): number {
  return Math.min(RESTART_WAIT_MS_MAX, RESTART_WAIT_MS_FIRST * 2 ** Math.min(failures, 20));
}

export class Supervisor {
  readonly #kept: Kept[];
  readonly #runFolder: string;
  readonly #say: (line: string) => void;
  readonly #stopped = new AbortController();
  #state: SupervisorState = "starting";

  constructor(parts: readonly Part[], runFolder: string, say: (line: string) => void) {
    this.#runFolder = runFolder;
    this.#say = say;
    this.#kept = parts.map((part) => ({
      part,
      state: "waiting",
      server: null,
      pid: null,
      restarts: 0,
      failures: 0,
      error: null,
    }));
  }

  get status(): SupervisorStatus {
    const parts = this.#kept.map((kept) => ({
      name: kept.part.name,
      state: kept.state,
      pid: kept.pid,
      restarts: kept.restarts,
      log: kept.part.logFile,
      error: kept.error === null ? null : { message: kept.error },
    }));
    return { state: this.#state, pid: process.pid, parts };
  }

  /** Starts all, in order. A part that does not come up at this first start stops the rest; it stays to tell why. */
  async startAll(): Promise<void> {
    for (const kept of this.#kept) {
      if (this.#stopped.signal.aborted) return;
      if (await this.#start(kept)) continue;
      if (this.#stopped.signal.aborted) return;
      kept.state = "failed";
      await this.#stopParts();
      this.#state = "failed";
      return;
    }
    if (!this.#stopped.signal.aborted) this.#state = "running";
  }

  /** Starts those anew that have outgrown their bound. */
  async boundParts(): Promise<void> {
    for (const kept of this.#kept) {
      if (kept.server === null || this.#state !== "running" || kept.part.outgrown?.() !== true) continue;
      this.#say(`${kept.part.name} has outgrown its bound and is started anew`);
      // Its watcher sees the end and starts it again.
      await kept.server.stop();
    }
  }

  async stopAll(): Promise<void> {
    this.#stopped.abort();
    this.#state = "stopping";
    await this.#stopParts();
    this.#state = "stopped";
  }

  async #stopParts(): Promise<void> {
    for (const kept of this.#kept.toReversed()) {
      if (kept.server !== null) {
        const server = kept.server;
        kept.server = null;
        await server.stop();
      }
      removeRecord(this.#runFolder, kept.part.name);
      kept.pid = null;
      if (kept.state !== "failed") kept.state = "stopped";
    }
  }

  async #start(kept: Kept): Promise<boolean> {
    kept.state = kept.restarts === 0 ? "starting" : "restarting";
    try {
      const server = await kept.part.start((pid) => this.#spawned(kept, pid));
      if (this.#stopped.signal.aborted) {
        await server.stop();
        return false;
      }
      kept.server = server;
      kept.state = "running";
      kept.error = null;
      this.#say(`${kept.part.name} runs (pid ${server.pid})`);
      this.#watch(kept, server, Date.now());
      return true;
    } catch (error) {
      kept.error = messageOf(error);
      kept.pid = null;
      this.#say(`${kept.part.name} did not start: ${kept.error}`);
      return false;
    }
  }

  #spawned(kept: Kept, pid: number): void {
    kept.pid = pid;
    const record = recordOf(kept.part.name, pid);
    if (record !== null) writeRecord(this.#runFolder, record);
  }

  async #watch(kept: Kept, server: Server, since: number): Promise<void> {
    const status = await server.exited;
    if (kept.server !== server) return; // it was stopped on purpose
    kept.server = null;
    kept.pid = null;
    this.#say(`${kept.part.name} (pid ${server.pid}) ended with ${status}`);
    if (Date.now() - since >= PROVEN_AFTER_MS) kept.failures = 0;
    while (!this.#stopped.signal.aborted) {
      kept.state = "restarting";
      await pause(restartWaitMs(kept.failures++), this.#stopped.signal);
      if (this.#stopped.signal.aborted || this.#state === "failed") return;
      kept.restarts++;
      if (await this.#start(kept)) return;
    }
  }
}

/** Cuts logs that grew past their bound; writers append, so a truncated file goes on from its start. */
export function boundLogs(folder: string, bytesMax = LOG_BYTES_MAX): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".log"))) {
    const file = join(folder, name);
    if (statSync(file).size <= bytesMax) continue;
    copyFileSync(file, `${file}.1.new`);
    renameSync(`${file}.1.new`, `${file}.1`);
    truncateSync(file, 0);
  }
}

/**
 * The replicator's side of queries: keeps the process that answers them, and tells it which tables have changed. That is
 * all that the replicator does for them, so nothing that is asked can hold it up.
 */
import type { Logger } from "pino";
import { pause } from "../replica/pause.ts";
import { crashesInARow, replicatorDelayMs } from "../workers/restart-delay.ts";
import type { QueryCounts, QueryServerProcess, QuerySettings } from "./messages.ts";
import type { QueryLimits } from "./query-limits.ts";
import type { EdgeRows } from "../../control/contract/process-config.ts";

/** Less than what the replicator itself is given. */
const STOP_WAIT_MS_MAX = 1_000;

export interface QueryServiceOptions {
  readonly rows: EdgeRows & { readonly from: "redis" };
  readonly fork: () => QueryServerProcess;
  /** The replica's page. */
  readonly page: () => unknown;
  readonly log: Logger;
  readonly limits?: Partial<QueryLimits>;
  /** Listens; told again after each restart. */
  readonly onListening?: (port: number) => void;
}

export class QueryService {
  readonly #options: QueryServiceOptions;
  readonly #settings: QuerySettings;
  readonly #stop = new AbortController();
  readonly #tables = new Set<string>();
  #takenOver = false;
  /** It has taken in what it was told. */
  #asked = true;
  #process: QueryServerProcess | null = null;
  #running: Promise<void> = Promise.resolve();
  #port: number | null = null;
  #restarts = 0;
  #lastError: string | null = null;
  #counts: QueryCounts | null = null;

  /** @returns null where the configuration has no place for them */
  static of(options: QueryServiceOptions): QueryService | null {
    const { replica_file: file, query: place } = options.rows;
    if (place === undefined) return null;
    const { limits = {}, log: { level: logLevel } } = options;
    return new QueryService(options, { file, place, logLevel, limits });
  }

  private constructor(options: QueryServiceOptions, settings: QuerySettings) {
    this.#options = options;
    this.#settings = settings;
  }

  start(): void {
    this.#running = this.#keep();
  }

  changed(changes: readonly { readonly table: string }[]): void {
    for (const { table } of changes) this.#tables.add(table);
    this.#flush();
  }

  takenOver(): void {
    this.#takenOver = true;
    this.#flush();
  }

  status() {
    return {
      ...{ pid: this.#process?.pid ?? null, port: this.#port, restarts: this.#restarts },
      ...{ last_error: this.#lastError, ...this.#counts },
    };
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#process?.send({ type: "stop" });
    const timer = setTimeout(() => this.#process?.kill("SIGKILL"), STOP_WAIT_MS_MAX);
    await this.#running;
    clearTimeout(timer);
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    const { fork, log } = this.#options;
    for (let crashes = 0; !signal.aborted;) {
      const startedMs = performance.now();
      const child = this.#process = fork();
      this.#asked = true;
      this.#listen(child);
      child.send({ type: "settings", settings: this.#settings });
      const how = await child.exited;
      this.#process = this.#port = null;
      if (signal.aborted) return;
      this.#restarts++;
      this.#lastError ??= how;
      crashes = crashesInARow(crashes, performance.now() - startedMs);
      const delayMs = replicatorDelayMs(crashes, Math.random);
      log.error({ how, err: this.#lastError, delay_ms: Math.round(delayMs) }, "queries are not answered");
      await pause(delayMs, signal);
    }
  }

  #listen(child: QueryServerProcess): void {
    child.onMessage((message) => {
      if (this.#process !== child) return;
      switch (message.type) {
        case "listening":
          this.#port = message.port;
          this.#lastError = null;
          return this.#options.onListening?.(message.port);
        case "unusable":
          this.#lastError = message.message;
          return;
        case "counts":
          this.#counts = message.counts;
          return;
        case "more":
          this.#asked = true;
          return this.#flush();
        case "status":
          return child.send({ ...message, body: JSON.stringify(this.#options.page()) });
      }
    });
  }

  #flush(): void {
    if (!this.#asked || this.#process === null || (this.#tables.size === 0 && !this.#takenOver)) return;
    this.#asked = false;
    this.#process.send({ type: "changed", tables: [...this.#tables], takenOver: this.#takenOver });
    this.#tables.clear();
    this.#takenOver = false;
  }
}

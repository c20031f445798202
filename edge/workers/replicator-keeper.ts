/** The parent's side of the replicator: keeps one running, and passes on what it says. */
import type { Logger } from "pino";
import type { ReplicatorProcess } from "./child-process.ts";
import type { FromReplicator, ReplicatorSettings } from "./messages.ts";
import { crashesInARow, replicatorDelayMs } from "./restart-delay.ts";

/** How long a starting edge waits for what it has missed before it serves from the file as it is. */
export const CATCH_UP_MS_MAX = 5_000;
/** A replicator that is asked to stop closes its file; then it is ended. */
export const STOP_WAIT_MS_MAX = 2_000;

export interface ReplicatorKeeperOptions {
  readonly fork: () => ReplicatorProcess;
  readonly settings: ReplicatorSettings;
  readonly passOn: (message: FromReplicator) => void;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export class ReplicatorKeeper {
  readonly #options: ReplicatorKeeperOptions;
  #settings: ReplicatorSettings;
  #child: ReplicatorProcess | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #crashesInARow = 0;
  #stopping = false;
  #settled: (() => void) | null = null;
  #crashes = 0;
  #lastEnd: string | null = null;

  constructor(options: ReplicatorKeeperOptions) {
    this.#options = options;
    this.#settings = options.settings;
  }

  /** Resolves once it has caught up, has ended, or takes too long. It is kept running all the same. */
  start(): Promise<void> {
    this.#stopping = false;
    const settled = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CATCH_UP_MS_MAX);
      this.#settled = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#fork();
    return settled;
  }

  status() {
    return {
      pid: this.#child?.pid ?? null,
      crashes: this.#crashes,
      last_end: this.#lastEnd,
    };
  }

  /** Its last news have been taken in. */
  more(): void {
    this.#child?.send({ type: "more" });
  }

  /** The one that follows reads on from where this one ends. */
  async restart(settings: ReplicatorSettings): Promise<void> {
    await this.stop();
    this.#settings = settings;
    await this.start();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null) return;
    child.send({ type: "stop" });
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WAIT_MS_MAX);
    await child.exited;
    clearTimeout(timer);
  }

  #fork(): void {
    const { fork, log, nowMs, passOn } = this.#options;
    const child = this.#child = fork();
    const startedMs = nowMs();
    child.onMessage((message) => {
      // The last words of one that was given up must not pass for its successor's.
      if (this.#child !== child) return;
      if (message.type === "caught_up") {
        log.info({ replicator_pid: child.pid }, "replicator has caught up");
        this.#settled?.();
      }
      passOn(message);
    });
    child.send({ type: "settings", settings: this.#settings });
    void child.exited.then((how) => {
      if (this.#child === child) this.#child = null;
      this.#settled?.();
      if (!this.#stopping) this.#left(how, nowMs() - startedMs);
    });
  }

  #left(how: string, livedMs: number): void {
    const { log, random } = this.#options;
    this.#crashes++;
    this.#lastEnd = how;
    this.#crashesInARow = crashesInARow(this.#crashesInARow, livedMs);
    const delayMs = replicatorDelayMs(this.#crashesInARow, random);
    log.error({ how, delay_ms: Math.round(delayMs) }, "replicator ended; starting another, serving on");
    this.#timer = setTimeout(() => {
      if (!this.#stopping) this.#fork();
    }, delayMs);
  }
}

/**
 * The parent's side of the replicator: keeps one running, and passes on what it says. One that does not do its work
 * (`replicator-watch.ts`) is killed, since a process that hangs does not end itself, and counts as one that crashed.
 */
import type { Logger } from "pino";
import { NEWS_UNASKED_MAX, weightOf } from "../rows/news-weight.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";
import type { ReplicatorProcess } from "./child-process.ts";
import type { FromReplicator, ReplicatorSettings } from "./messages.ts";
import {
  begun,
  heard,
  later,
  RESTART_REASONS,
  type RestartReason,
  verdict,
  WATCH_LIMITS,
  type Watched,
  type WatchLimits,
  workedMs,
} from "./replicator-watch.ts";
import { crashesInARow, replicatorDelayMs } from "./restart-delay.ts";

/** How long a starting edge waits for what it has missed before it serves from the file as it is. */
export const CATCH_UP_MS_MAX = 5_000;
/** A replicator that is asked to stop closes its file; then it is ended. */
export const STOP_WAIT_MS_MAX = 2_000;
export const WATCH_INTERVAL_MS = 1_000;
/** One that is younger has looked at its file a moment ago, or does so now. */
export const UNREADABLE_INTERVAL_MS_MIN = 15_000;

export interface ReplicatorKeeperOptions {
  readonly fork: () => ReplicatorProcess;
  readonly settings: ReplicatorSettings;
  readonly passOn: (message: FromReplicator) => void;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** @default WATCH_LIMITS */
  readonly limits?: WatchLimits;
}

/** For `/replica` and the metrics. */
export interface ReplicatorStatus {
  readonly pid: number | null;
  /** How many were replaced, by reason. */
  readonly restarts: Readonly<Record<RestartReason, number>>;
  readonly last_end: string | null;
}

/** What the rows' status says of the process that reads them. */
export function withReplicator(status: RowSourceStatus, replicator: ReplicatorStatus): RowSourceStatus {
  return { ...status, restarts: replicator.restarts, details: { ...status.details, replicator } };
}

interface Child {
  readonly process: ReplicatorProcess;
  readonly startedMs: number;
  watched: Watched;
  /** The weight of the news that were passed on and that nobody has taken in. */
  untaken: number;
}

export class ReplicatorKeeper {
  readonly #options: ReplicatorKeeperOptions;
  #settings: ReplicatorSettings;
  #child: Child | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #watching: ReturnType<typeof setInterval> | null = null;
  #watchedMs = 0;
  #crashesInARow = 0;
  #stopping = false;
  #settled: (() => void) | null = null;
  readonly #restarts = Object.fromEntries(RESTART_REASONS.map((reason) => [reason, 0])) as Record<
    RestartReason,
    number
  >;
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
    this.#watchedMs = this.#options.nowMs();
    this.#watching = setInterval(() => this.#watch(), WATCH_INTERVAL_MS);
    this.#fork();
    return settled;
  }

  status(): ReplicatorStatus {
    return {
      pid: this.#child?.process.pid ?? null,
      restarts: { ...this.#restarts },
      last_end: this.#lastEnd,
    };
  }

  /** @param taken the weight of news that were taken in, perhaps of an earlier one */
  more(taken: number): void {
    if (this.#child === null) return;
    this.#child.untaken = Math.max(0, this.#child.untaken - taken);
    this.#child.process.send({ type: "more", taken });
  }

  /** A relay cannot read the file, and this one has not noticed; the next one looks at the file first. */
  unreadable(): void {
    const child = this.#child;
    if (child === null || this.#options.nowMs() - child.startedMs < UNREADABLE_INTERVAL_MS_MIN) return;
    this.#replace(child, "unreadable");
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
    if (this.#watching !== null) clearInterval(this.#watching);
    const process = this.#child?.process;
    if (process === undefined) return;
    process.send({ type: "stop" });
    const timer = setTimeout(() => process.kill("SIGKILL"), STOP_WAIT_MS_MAX);
    await process.exited;
    clearTimeout(timer);
  }

  #fork(): void {
    const { fork, log, nowMs, passOn } = this.#options;
    const process = fork();
    const startedMs = nowMs();
    const child: Child = this.#child = { process, startedMs, watched: begun(startedMs), untaken: 0 };
    process.onMessage((message) => {
      // The last words of one that was given up must not pass for its successor's.
      if (this.#child !== child) return;
      if (message.type === "heartbeat") {
        const owed = child.untaken >= NEWS_UNASKED_MAX;
        child.watched = heard(child.watched, message.beat, owed, nowMs());
      } else if (message.type === "news") child.untaken += weightOf(message.news);
      else {
        log.info({ replicator_pid: process.pid }, "replicator has caught up");
        this.#settled?.();
      }
      passOn(message);
    });
    process.send({ type: "settings", settings: this.#settings });
    void process.exited.then((how) => {
      if (this.#child === child) this.#left(child, "ended", how, nowMs() - startedMs);
    });
  }

  #watch(): void {
    const { nowMs, limits = WATCH_LIMITS } = this.#options;
    const now = nowMs();
    const lateMs = now - this.#watchedMs - WATCH_INTERVAL_MS;
    this.#watchedMs = now;
    const child = this.#child;
    if (child === null) return;
    if (lateMs > WATCH_INTERVAL_MS) child.watched = later(child.watched, lateMs);
    const reason = verdict(child.watched, limits, now);
    if (reason !== null) this.#replace(child, reason);
  }

  #replace(child: Child, reason: RestartReason): void {
    const { beat } = child.watched;
    this.#options.log.error(
      { replicator_pid: child.process.pid, reason, beat },
      "the replicator does not do its work; ending it",
    );
    // Its end is not waited for: one that hangs in a disk dies when the disk answers, and then writes no more.
    child.process.kill("SIGKILL");
    this.#left(child, reason, reason, workedMs(child.watched, child.startedMs));
  }

  #left(child: Child, reason: RestartReason, how: string, stableMs: number): void {
    const { log, random } = this.#options;
    if (this.#child === child) this.#child = null;
    this.#settled?.();
    if (this.#stopping) return;
    this.#restarts[reason]++;
    this.#lastEnd = how;
    this.#crashesInARow = crashesInARow(this.#crashesInARow, stableMs);
    const delayMs = replicatorDelayMs(this.#crashesInARow, random);
    log.error({ how, delay_ms: Math.round(delayMs) }, "replicator ended; starting another, serving on");
    this.#timer = setTimeout(() => {
      if (!this.#stopping) this.#fork();
    }, delayMs);
  }
}

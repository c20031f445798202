/**
 * Tells when processes end that are no children of this one: a VM outlives the agent that started it. All are looked at
 * together, by one timer and one system call, because a timer and a look for each was most of what an agent with a hundred
 * quiet machines did.
 */
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive, type ProcessIdentity } from "./host-process.ts";
import { openPidfd, PidfdSet } from "./pidfd.ts";

/** An end is seen within this time; a VM's streams mostly tell of it at once (`hint`). */
export const LOOK_INTERVAL_MS = 500;
const HINTED_LOOK_MS = 10;
/** After a hint: a process ends within milliseconds of closing its sockets, or the hint was wrong. */
const HINTED_LOOKS_MAX = 100;

interface Watched {
  readonly process: ProcessIdentity;
  /** Null: this host has none to give, so it is looked up in /proc. */
  readonly pidfd: number | null;
  readonly onEnd: () => void;
}

export class ProcessEnds {
  readonly #lookIntervalMs: number;
  readonly #watched = new Set<Watched>();
  /** Of those that have a pidfd, in the order of `#set`. Null: to be made anew. */
  #order: Watched[] | null = null;
  #set = new PidfdSet([]);
  #timer: NodeJS.Timeout | null = null;

  constructor(lookIntervalMs = LOOK_INTERVAL_MS, readonly open: (pid: number) => number | null = openPidfd) {
    this.#lookIntervalMs = lookIntervalMs;
  }

  /** How many are watched. */
  get size(): number {
    return this.#watched.size;
  }

  /** Calls `onEnd` once, later, when the process is gone (a zombie is). Returns what ends the watch without that. */
  watch(process: ProcessIdentity, onEnd: () => void): () => void {
    const watched: Watched = { process, pidfd: this.open(process.pid), onEnd };
    this.#watched.add(watched);
    this.#order = null;
    // It keeps no process from leaving.
    this.#timer ??= setInterval(() => this.#look(), this.#lookIntervalMs).unref();
    // The pid may be another's by now. Asked after the descriptor was opened, the answer stays true of that.
    if (!isAlive(process)) queueMicrotask(() => this.#end(watched));
    return () => this.#drop(watched);
  }

  #look(): void {
    if (this.#order === null) {
      this.#order = [...this.#watched].filter(({ pidfd }) => pidfd !== null);
      this.#set = new PidfdSet(this.#order.map(({ pidfd }) => pidfd!));
    }
    const order = this.#order;
    for (const at of this.#set.ended()) this.#end(order[at]!);
    if (order.length === this.#watched.size) return;
    for (const watched of [...this.#watched]) {
      if (watched.pidfd === null && !isAlive(watched.process)) this.#end(watched);
    }
  }

  #end(watched: Watched): void {
    if (this.#drop(watched)) watched.onEnd();
  }

  #drop(watched: Watched): boolean {
    if (!this.#watched.delete(watched)) return false;
    this.#order = null;
    if (watched.pidfd !== null) closeSync(watched.pidfd);
    if (this.#watched.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    return true;
  }
}

const processEnds = new ProcessEnds();

/** When the process is gone: seen within LOOK_INTERVAL_MS, or at once after `hint`. Left pending once `signal` aborted. */
export async function goneOf(
  process: ProcessIdentity,
  signal: AbortSignal,
  hint: Promise<void> = new Promise(() => {}),
  ends: ProcessEnds = processEnds,
): Promise<void> {
  const gone = Promise.withResolvers<void>();
  if (signal.aborted) return await gone.promise;
  let isOver = false;
  const unwatch = ends.watch(process, gone.resolve);
  const end = () => {
    isOver = true;
    unwatch();
  };
  signal.addEventListener("abort", end, { once: true });
  void hint.then(async () => {
    for (let looks = 0; looks < HINTED_LOOKS_MAX && !isOver; looks++) {
      if (!isAlive(process)) return gone.resolve();
      await delay(HINTED_LOOK_MS, undefined, { ref: false });
    }
  });
  await gone.promise;
  signal.removeEventListener("abort", end);
  end();
}

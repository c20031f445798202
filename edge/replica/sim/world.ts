/**
 * A world in which one thing happens after another. Time passes only when nobody has anything left to do: the earliest
 * timer is taken, its consequences run until every promise waits for a timer again, then the next. The code under test
 * awaits nothing but its ports (SQLite is synchronous), and all ports wait on this clock, so a seed decides everything.
 */
import { Chance } from "./chance.ts";
import { Trace } from "./trace.ts";

/** What the wall clocks show at the beginning. */
export const WALL_START_MS = 1_800_000_000_000;
/** More timers than this at a time mean that somebody makes them without end. */
export const TIMERS_MAX = 20_000;

export interface Timer {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | null;
}

/** A checker's finding; ends the run. */
export class Violation extends Error {
  constructor(readonly checker: string, message: string) {
    super(message);
  }
}

export class World {
  readonly chance: Chance;
  readonly trace = new Trace();
  readonly #timers: Timer[] = [];
  #nowMs = 0;
  #order = 0;
  #violation: Violation | null = null;

  constructor(seed: number) {
    this.chance = new Chance(seed);
  }

  /** Monotonic, from 0. */
  get nowMs(): number {
    return this.#nowMs;
  }
  get wallMs(): number {
    return WALL_START_MS + Math.floor(this.#nowMs);
  }
  get timers(): number {
    return this.#timers.length;
  }

  /** One line of what happens. */
  tell(line: string): void {
    this.trace.add(this.#nowMs, line);
  }

  /** The first one counts: what follows it may be its consequence. */
  violate(checker: string, message: string): void {
    if (this.#violation !== null) return;
    this.tell(`VIOLATION ${checker}: ${message}`);
    this.#violation = new Violation(checker, message);
  }
  get violation(): Violation | null {
    return this.#violation;
  }

  after(ms: number, run: () => void): Timer {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, run };
    this.#push(timer);
    if (this.#timers.length > TIMERS_MAX) this.violate("memory", `${this.#timers.length} timers`);
    return timer;
  }

  cancel(timer: Timer): void {
    timer.run = null;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Like `pause` of the real world. */
  readonly pause = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const end = () => {
        this.cancel(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.after(ms, end);
      signal?.addEventListener("abort", end);
    });

  /** Lets time pass until then, or until something is found wrong. */
  async runUntil(untilMs: number): Promise<void> {
    await drained();
    for (let next = this.#timers[0]; next !== undefined && next.atMs <= untilMs; next = this.#timers[0]) {
      this.#pop();
      if (next.run === null) continue;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await drained();
      if (this.#violation !== null) return;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Lets time pass until the promise is settled. */
  async result<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = promise.finally(() => settled = true);
    done.catch(() => {});
    await drained();
    while (!settled && this.#timers.length > 0) await this.runUntil(this.#timers[0]!.atMs);
    return await done;
  }

  // ── a heap of timers, the earliest first ───────────────────────────────────────────────────────────────────────

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, timer)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order;
}

/** The runtime takes an immediate only when no microtask is left. */
function drained(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

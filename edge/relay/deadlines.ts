/**
 * Time limits of connections. A timer for each would be set and cleared several times a request; instead each connection
 * holds the time it must not reach, and one sweep looks at all of them.
 */
import type { LoopClock } from "../runtime/loop-clock.ts";

export const SWEEP_INTERVAL_MS = 100;

export interface Timed {
  /** On the monotonic clock; Infinity where no limit holds. */
  deadlineMs: number;
  onDeadline(): void;
  /** `onDeadline` threw: a fault of ours, which must not take the process with it. */
  onFault(error: unknown): void;
}

export class Deadlines {
  readonly #all = new Set<Timed>();
  #timer: ReturnType<typeof setInterval> | null = null;

  get size(): number {
    return this.#all.size;
  }
  add(timed: Timed): void {
    this.#all.add(timed);
  }
  remove(timed: Timed): void {
    this.#all.delete(timed);
  }

  sweep(nowMs: number): void {
    for (const timed of this.#all) {
      if (timed.deadlineMs > nowMs) continue;
      timed.deadlineMs = Infinity;
      try {
        timed.onDeadline();
      } catch (error) {
        timed.onFault(error);
      }
    }
  }

  start(clock: LoopClock): void {
    this.#timer = setInterval(() => {
      clock.sync();
      this.sweep(clock.ms);
    }, SWEEP_INTERVAL_MS);
  }
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

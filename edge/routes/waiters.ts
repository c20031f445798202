/** Requests that wait for a machine of one service: woken by the table, by a free place, by a retry, or by their limit. */
import type { Timed } from "../relay/deadlines.ts";

export class Waiter implements Timed {
  deadlineMs: number;
  readonly sinceMs: number;
  readonly #waiters: Waiters;
  readonly #wake: () => void;
  readonly #expired: () => void;
  readonly #cancelled: () => void;
  readonly #fault: (error: unknown) => void;

  constructor(
    waiters: Waiters,
    nowMs: number,
    waitMsMax: number,
    callbacks: {
      wake: () => void;
      expired: () => void;
      cancelled: () => void;
      fault: (error: unknown) => void;
    },
  ) {
    this.#waiters = waiters;
    this.sinceMs = nowMs;
    this.deadlineMs = nowMs + waitMsMax;
    this.#wake = callbacks.wake;
    this.#expired = callbacks.expired;
    this.#cancelled = callbacks.cancelled;
    this.#fault = callbacks.fault;
  }

  /** Whoever wakes it is about something else, a row or another request, and must not meet its exceptions. */
  wake(): void {
    try {
      this.#wake();
    } catch (error) {
      this.#fault(error);
    }
  }
  onFault(error: unknown): void {
    this.#fault(error);
  }
  onDeadline(): void {
    this.#waiters.remove(this);
    this.#expired();
  }
  cancel(): void {
    this.#waiters.remove(this);
    this.#cancelled();
  }
}

export class Waiters {
  readonly #queue = new Set<Waiter>();

  get size(): number {
    return this.#queue.size;
  }
  /** Since when the first in the queue has waited, monotonic; Infinity where nobody waits. */
  get oldestMs(): number {
    for (const waiter of this.#queue) return waiter.sinceMs;
    return Infinity;
  }
  add(waiter: Waiter): void {
    this.#queue.add(waiter);
  }
  remove(waiter: Waiter): void {
    this.#queue.delete(waiter);
  }

  /** First come, first served. */
  wakeOne(): void {
    for (const waiter of this.#queue) {
      this.#queue.delete(waiter);
      return waiter.wake();
    }
  }

  /** Those who wait now; who waits again in answer to this is not woken twice. */
  wakeAll(): void {
    const all = [...this.#queue];
    this.#queue.clear();
    for (const waiter of all) waiter.wake();
  }
}

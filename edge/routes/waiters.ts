/** Requests that wait for a machine of one service: woken by the table, by a free place, by a retry, or by their limit. */
import type { Timed } from "../relay/deadlines.ts";
import type { Backend } from "./backend.ts";

export class Waiter implements Timed {
  deadlineMs: number;
  readonly sinceMs: number;
  readonly #waiters: Waiters;
  readonly #wake: () => void;
  readonly #expired: () => void;
  readonly #cancelled: () => void;
  readonly #fault: (error: unknown) => void;
  readonly #wants: ((backend: Backend) => boolean) | null;

  /** @param wants which machines it would take; all where there is none */
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
    wants: ((backend: Backend) => boolean) | null = null,
  ) {
    this.#waiters = waiters;
    this.sinceMs = nowMs;
    this.deadlineMs = nowMs + waitMsMax;
    this.#wake = callbacks.wake;
    this.#expired = callbacks.expired;
    this.#cancelled = callbacks.cancelled;
    this.#fault = callbacks.fault;
    this.#wants = wants;
  }

  wants(backend: Backend): boolean {
    return this.#wants === null || this.#wants(backend);
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
  readonly #counted: { waiting: number };

  /** @param counted `waiting` is kept as the number of all who wait at it */
  constructor(counted: { waiting: number }) {
    this.#counted = counted;
  }

  get size(): number {
    return this.#queue.size;
  }
  add(waiter: Waiter): void {
    if (this.#queue.has(waiter)) return;
    this.#queue.add(waiter);
    this.#counted.waiting++;
  }
  remove(waiter: Waiter): void {
    if (this.#queue.delete(waiter)) this.#counted.waiting--;
  }

  /** Who has waited longest of those that would take the machine. */
  firstFor(backend: Backend): Waiter | null {
    for (const waiter of this.#queue) if (waiter.wants(backend)) return waiter;
    return null;
  }

  wake(waiter: Waiter): void {
    this.remove(waiter);
    waiter.wake();
  }

  /** Those who wait now; who waits again in answer to this is not woken twice. */
  wakeAll(): void {
    if (this.#queue.size === 0) return;
    const all = [...this.#queue];
    this.#queue.clear();
    this.#counted.waiting -= all.length;
    for (const waiter of all) waiter.wake();
  }
}

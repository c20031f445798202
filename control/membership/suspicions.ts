/** Hosts under suspicion here, who shares it, and when it runs out. How long it lasts is in `timing.ts`. */
import { suspicionMs, type Timing } from "./timing.ts";

interface Suspicion {
  startMs: number;
  readonly accusers: Set<string>;
  deadlineMs: number;
}

export class Suspicions {
  readonly #timing: Timing;
  readonly #all = new Map<string, Suspicion>();

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  get size(): number {
    return this.#all.size;
  }

  /** @param accuser null where it is not known who says so */
  start(id: string, accuser: string | null, live: number, nowMs: number): void {
    const accusers = new Set(accuser === null ? [] : [accuser]);
    const deadlineMs = nowMs + suspicionMs(this.#timing, live, 0);
    this.#all.set(id, { startMs: nowMs, accusers, deadlineMs });
  }

  /** @returns whether that is new, and of a kind that others should hear */
  confirm(id: string, accuser: string | null, live: number): boolean {
    const suspicion = this.#all.get(id);
    if (suspicion === undefined || accuser === null || suspicion.accusers.has(accuser)) return false;
    if (suspicion.accusers.size > this.#timing.confirmations) return false;
    suspicion.accusers.add(accuser);
    const confirmations = suspicion.accusers.size - 1;
    suspicion.deadlineMs = suspicion.startMs + suspicionMs(this.#timing, live, confirmations);
    return true;
  }

  end(id: string): void {
    this.#all.delete(id);
  }

  expired(nowMs: number): string[] {
    const ids: string[] = [];
    for (const [id, { deadlineMs }] of this.#all) if (nowMs >= deadlineMs) ids.push(id);
    return ids;
  }

  nextMs(): number {
    let next = Infinity;
    for (const { deadlineMs } of this.#all.values()) next = Math.min(next, deadlineMs);
    return next;
  }

  postpone(byMs: number): void {
    for (const suspicion of this.#all.values()) {
      suspicion.startMs += byMs;
      suspicion.deadlineMs += byMs;
    }
  }
}

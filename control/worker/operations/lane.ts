/** A bounded number of places; those who find none wait in order, and may give up waiting. */
export class Lane {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#free = places;
  }

  /** What `body` gives, or null and nothing run where `signal` was aborted before there was a place. */
  async run<T>(body: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
    if (!await this.#enter(signal)) return null;
    try {
      return await body();
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const enter = () => {
        signal.removeEventListener("abort", giveUp);
        resolve(true);
      };
      const giveUp = () => {
        this.#waiting.delete(enter);
        resolve(false);
      };
      this.#waiting.add(enter);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #leave(): void {
    for (const next of this.#waiting) {
      // The place is handed over, not freed, so that a newcomer cannot overtake the queue.
      this.#waiting.delete(next);
      return next();
    }
    this.#free++;
  }
}

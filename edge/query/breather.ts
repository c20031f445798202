/**
 * A replica's write-ahead log begins anew only in a moment in which nobody reads the file. Statements that overlap all the
 * time would let it grow without end, so after a while new ones wait until those that run have ended, and until the log has
 * had its moment.
 */
export interface BreatherOptions {
  /** Statements may overlap for so long. */
  readonly busyMsMax: number;
  /** Resolves once the log has begun anew, or does not need to. */
  readonly breath: () => Promise<void>;
  readonly nowMs: () => number;
}

export class Breather {
  readonly #options: BreatherOptions;
  #running = 0;
  /** When the first of those that overlap began. */
  #sinceMs = 0;
  #closed: PromiseWithResolvers<void> | null = null;
  /** Times that statements had to wait. */
  breaths = 0;

  constructor(options: BreatherOptions) {
    this.#options = options;
  }

  async run<T>(statement: () => Promise<T>): Promise<T> {
    const { busyMsMax, nowMs } = this.#options;
    for (;;) {
      if (this.#closed !== null) await this.#closed.promise;
      else if (this.#running > 0 && nowMs() - this.#sinceMs > busyMsMax) {
        this.breaths++;
        this.#closed = Promise.withResolvers();
      } else break;
    }
    if (this.#running++ === 0) this.#sinceMs = nowMs();
    try {
      return await statement();
    } finally {
      if (--this.#running === 0 && this.#closed !== null) {
        void this.#options.breath().then(() => this.#open());
      }
    }
  }

  #open(): void {
    this.#closed?.resolve();
    this.#closed = null;
  }
}

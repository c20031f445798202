/**
 * The time at which the event loop took up what it is doing now, as nginx and libuv keep it: one reading of the clock
 * serves all that happens in one callback. Sockets and the sweep of deadlines tick; between two ticks lie at most
 * `SWEEP_INTERVAL_MS`, so whoever forgets to tick is wrong by no more than that.
 */
export class LoopClock {
  /** Monotonic. */
  ms = 0;
  /** Since 1970, whole. */
  wallMs = 0;
  #wallOffsetMs = 0;

  constructor() {
    this.sync();
  }

  tick(): void {
    this.ms = performance.now();
    this.wallMs = Math.floor(this.ms + this.#wallOffsetMs);
  }

  /** The wall clock may have been set: reads it too. */
  sync(): void {
    this.#wallOffsetMs = Date.now() - performance.now();
    this.tick();
  }
}

export const loopClock = new LoopClock();

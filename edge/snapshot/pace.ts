/** Bytes a second that several senders share: each takes what it is about to send, and is told how long to wait first. */
export class SharedPace {
  readonly #bytesPerS: number;
  readonly #burstMs: number;
  /** Until then all that was taken has been sent, at that pace. */
  #busyUntilMs = -Infinity;

  /** @param burstMs so much may be sent at once after a while without */
  constructor(bytesPerS: number, burstMs = 100) {
    this.#bytesPerS = bytesPerS;
    this.#burstMs = burstMs;
  }

  /** @returns milliseconds to wait before these are sent */
  take(bytes: number, nowMs: number): number {
    const fromMs = Math.max(this.#busyUntilMs, nowMs - this.#burstMs);
    this.#busyUntilMs = fromMs + bytes / this.#bytesPerS * 1_000;
    return Math.max(0, fromMs - nowMs);
  }
}

/**
 * How fast a peer does what it is its turn to do. A time limit between two reads lets a client hold a machine's place with
 * one byte a minute; the bytes over all the time in which nobody but the client was waited for do not.
 */
export class Pace {
  #bytes = 0;
  #turnsMs = 0;
  /** Monotonic; -1 while it is not the peer's turn. */
  #turnSinceMs = -1;

  turnBegins(nowMs: number): void {
    if (this.#turnSinceMs === -1) this.#turnSinceMs = nowMs;
  }

  turnEnds(nowMs: number): void {
    if (this.#turnSinceMs === -1) return;
    this.#turnsMs += nowMs - this.#turnSinceMs;
    this.#turnSinceMs = -1;
  }

  moved(bytes: number): void {
    this.#bytes += bytes;
  }

  /** @param graceMs a beginning tells nothing: connections start slowly */
  below(bytesPerSecondMin: number, graceMs: number, nowMs: number): boolean {
    const ms = this.#turnsMs + (this.#turnSinceMs === -1 ? 0 : nowMs - this.#turnSinceMs);
    return ms > graceMs && this.#bytes * 1_000 < bytesPerSecondMin * ms;
  }
}

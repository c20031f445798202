/**
 * Lifeguard's local health (Dadgar, Phillips, Currey 2018, section IV-A): a host that hears nothing back, not even from
 * those it asked for help, or that had to refute its own death, is more likely ill itself. It then takes more time for its
 * probes, and goes back to normal as they succeed. The score ends at 3 and not at the paper's 8: half of a fleet that loses
 * the other half must still find that out within seconds.
 */
export const HEALTH_SCORE_MAX = 3;

export class LocalHealth {
  #score = 0;

  get score(): number {
    return this.#score;
  }
  /** What waits are multiplied with. */
  get scale(): number {
    return 1 + this.#score;
  }

  worse(): void {
    this.#score = Math.min(HEALTH_SCORE_MAX, this.#score + 1);
  }

  better(): void {
    this.#score = Math.max(0, this.#score - 1);
  }
}

/**
 * Whom to probe next: everybody once, in an order drawn at random, then all again in another (SWIM section 4.3). So the
 * time until a host is probed by a given other one has a bound, and two hosts do not probe the same ones in step.
 */
export class ProbeOrder {
  #order: string[] = [];
  #next = 0;
  readonly #random: () => number;

  /** @param random in [0, 1) */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** A new one stands somewhere among those whose turn is still to come. */
  add(id: string): void {
    const at = this.#next + Math.floor(this.#random() * (this.#order.length - this.#next + 1));
    this.#order.splice(at, 0, id);
  }

  remove(id: string): void {
    const at = this.#order.indexOf(id);
    if (at === -1) return;
    this.#order.splice(at, 1);
    if (at < this.#next) this.#next--;
  }

  /** The next for whom `wanted` holds; null where there is none. */
  next(wanted: (id: string) => boolean): string | null {
    for (let looked = 0; looked < this.#order.length; looked++) {
      if (this.#next >= this.#order.length) {
        this.#next = 0;
        shuffle(this.#order, this.#random);
      }
      const id = this.#order[this.#next++]!;
      if (wanted(id)) return id;
    }
    return null;
  }
}

/** Fisher and Yates's, in place. */
export function shuffle<T>(list: T[], random: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

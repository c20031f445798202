/**
 * One change of the host's network at a time, and many machines' changes in one: what is asked for while a change is
 * under way waits and then goes together, so that fifty machines that start at once cost a few commands, not fifty.
 */
import { assert } from "../../contract/errors.ts";

/** Keeps a transaction well below a netlink message's bounds. */
export const BATCH_MAX = 64;
/** More than a host has machines. */
const waitingMax = 65_536;

export class Lane {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs after all that was handed in before, whether that went well or not. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(task);
    this.#tail = turn.catch(() => {
      // The caller of that turn has its error; the next one is none the worse for it.
    });
    return turn;
  }
}

interface Waiting<Item> {
  readonly item: Item;
  readonly settle: (error: unknown) => void;
}

/** Answers for each item the error that befell it, or null. */
export type ChangeMany<Item> = (items: readonly Item[]) => Promise<(Error | null)[]>;

export class Batch<Item> {
  readonly #lane: Lane;
  readonly #change: ChangeMany<Item>;
  #waiting: Waiting<Item>[] = [];

  constructor(lane: Lane, change: ChangeMany<Item>) {
    this.#lane = lane;
    this.#change = change;
  }

  add(item: Item): Promise<void> {
    assert(this.#waiting.length < waitingMax, "more changes of links wait than a host can have machines");
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, settle: (error) => error === null ? resolve() : reject(error) });
      if (this.#waiting.length === 1) this.#schedule();
    });
  }

  #schedule(): void {
    void this.#lane.run(async () => {
      const now = this.#waiting.splice(0, BATCH_MAX);
      if (this.#waiting.length > 0) this.#schedule();
      try {
        const errors = await this.#change(now.map(({ item }) => item));
        now.forEach(({ settle }, i) => settle(errors[i] ?? null));
      } catch (error) {
        for (const { settle } of now) settle(error);
      }
    });
  }
}

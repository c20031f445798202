/**
 * How much a reader may be told before it asks for more, so that nothing piles up in a channel. It does not ask after each
 * message: where single rows change all the time, to ask would wake both processes once more for each of them.
 */
import type { News } from "./pending-changes.ts";

/** Told and not asked for; the message that goes past it is the last until then. In keys. */
export const NEWS_UNASKED_MAX = 512;
/** So much less than that, that a reader with nothing left to read is never one that is waited for. */
const ASK_AFTER = NEWS_UNASKED_MAX / 2;

/** In keys; whatever makes a reader read everything weighs as much as may be under way. */
export function weightOf({ keys, all, takenOver }: News): number {
  if (all || takenOver) return NEWS_UNASKED_MAX;
  return keys.reduce((sum, [, some]) => sum + some.length, 0);
}

/** The reader's side. */
export class NewsReceipts {
  readonly #ask: (taken: number) => void;
  #taken = 0;

  /** @param ask with the weight of what was taken in since it was last called */
  constructor(ask: (taken: number) => void) {
    this.#ask = ask;
  }

  add(news: News): void {
    this.#taken += weightOf(news);
  }

  /**
   * What was added has been taken in.
   * @param from the least weight that is worth asking
   */
  settle(from = ASK_AFTER): void {
    const taken = this.#taken;
    if (taken < from) return;
    this.#taken = 0;
    this.#ask(taken);
  }
}

/** One reader's news: so much at a time, and what comes before it asks for more is coalesced. */
import { NEWS_UNASKED_MAX, weightOf } from "../rows/news-weight.ts";
import { type News, PendingChanges } from "../rows/pending-changes.ts";

export class NewsFeed {
  readonly pending = new PendingChanges();
  readonly #send: (news: News) => void;
  /** The weight of what was sent since. */
  #unasked = 0;

  constructor(send: (news: News) => void) {
    this.#send = send;
  }

  /** Something has changed that waits for `more`. */
  get held(): boolean {
    return this.#unasked >= NEWS_UNASKED_MAX && !this.pending.empty;
  }

  /** To be called after each addition to `pending`. */
  flush(): void {
    if (this.#unasked >= NEWS_UNASKED_MAX) return;
    const news = this.pending.take();
    if (news === null) return;
    this.#unasked += weightOf(news);
    this.#send(news);
  }

  /** @param taken the weight of what its reader has taken in */
  more(taken: number): void {
    this.#unasked = Math.max(0, this.#unasked - taken);
    this.flush();
  }
}

/** One reader's news: one message at a time, and what comes before it asks for more is coalesced. */
import { type News, PendingChanges } from "../rows/pending-changes.ts";

export class NewsFeed {
  readonly pending = new PendingChanges();
  readonly #send: (news: News) => void;
  #asked = true;

  constructor(send: (news: News) => void) {
    this.#send = send;
  }

  /** Something has changed that waits for `more`. */
  get held(): boolean {
    return !this.#asked && !this.pending.empty;
  }

  /** To be called after each addition to `pending`. */
  flush(): void {
    if (!this.#asked) return;
    const news = this.pending.take();
    if (news === null) return;
    this.#asked = false;
    this.#send(news);
  }

  more(): void {
    this.#asked = true;
    this.flush();
  }
}

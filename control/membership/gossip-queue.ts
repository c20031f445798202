/**
 * What is still to be told to others: for each host its newest news alone, so the queue is never longer than the fleet.
 * What was sent the fewest times goes first (SWIM section 4.1): fresh news overtakes, and none is sent for ever.
 */
import type { News } from "./member.ts";

interface Entry {
  readonly news: News;
  sent: number;
}

export class GossipQueue {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  put(news: News): void {
    // At the end: of those sent equally often the oldest goes first.
    this.#entries.delete(news.id);
    this.#entries.set(news.id, { news, sent: 0 });
  }

  drop(id: string): void {
    this.#entries.delete(id);
  }

  /**
   * @param sizeOf bytes that a piece of news takes
   * @param times after how many it has been told often enough
   * @param except not about this host
   */
  take(room: number, sizeOf: (news: News) => number, times: number, except: string | null): News[] {
    if (this.#entries.size === 0) return [];
    const taken: News[] = [];
    const sorted = [...this.#entries.values()].sort((a, b) => a.sent - b.sent);
    for (const entry of sorted) {
      const { news } = entry;
      if (news.id === except) continue;
      const size = sizeOf(news);
      if (size > room) break;
      room -= size;
      taken.push(news);
      if (++entry.sent >= times) this.#entries.delete(news.id);
    }
    return taken;
  }
}

/** What happens next in a simulated world: a binary heap by time; of two at one time, the one put first. */
interface Entry<Event> {
  readonly atMs: number;
  readonly order: number;
  readonly event: Event;
}

export class EventQueue<Event> {
  readonly #heap: Entry<Event>[] = [];
  #order = 0;

  put(atMs: number, event: Event): void {
    const heap = this.#heap;
    let at = heap.push({ atMs, order: this.#order++, event }) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at]!, heap[parent]!)) break;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  /** @returns null where nothing happens until then */
  take(untilMs: number): { atMs: number; event: Event } | null {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.atMs > untilMs) return null;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      let at = 0;
      for (;;) {
        const left = at * 2 + 1, right = left + 1;
        let least = at;
        if (left < heap.length && before(heap[left]!, heap[least]!)) least = left;
        if (right < heap.length && before(heap[right]!, heap[least]!)) least = right;
        if (least === at) break;
        [heap[at], heap[least]] = [heap[least]!, heap[at]!];
        at = least;
      }
    }
    return first;
  }
}

function before(one: Entry<unknown>, two: Entry<unknown>): boolean {
  return one.atMs < two.atMs || (one.atMs === two.atMs && one.order < two.order);
}

/**
 * What happened: a hash over all of it, which proves that two runs were the same, the last lines for whoever reads a
 * failure, and how often each rare thing was met.
 */
import { crc32 } from "node:zlib";

export const TRACE_LINES_MAX = 400;

export class Trace {
  readonly #lines: string[] = [];
  readonly #marks = new Map<string, number>();
  #hash = 0;
  #length = 0;

  /** @param line no paths, no process ids, no clock of the real world: it goes into the hash */
  add(atMs: number, line: string): void {
    const text = `${(atMs / 1_000).toFixed(3).padStart(9)} ${line}`;
    this.#hash = crc32(text, this.#hash);
    this.#length++;
    this.#lines.push(text);
    if (this.#lines.length > 2 * TRACE_LINES_MAX) this.#lines.splice(0, TRACE_LINES_MAX);
  }

  /** A rare branch was met: `marks.ts` lists those that a night of seeds must meet. */
  sometimes(mark: string, times = 1): void {
    this.#marks.set(mark, (this.#marks.get(mark) ?? 0) + times);
  }

  get marks(): ReadonlyMap<string, number> {
    return this.#marks;
  }
  /** The last lines. */
  get lines(): readonly string[] {
    return this.#lines.slice(-TRACE_LINES_MAX);
  }
  get hash(): string {
    return `${this.#hash.toString(16).padStart(8, "0")}-${this.#length}`;
  }
}

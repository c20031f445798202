/**
 * The machine's last output, bounded by LOG_BUFFER_BYTES: what was read by nobody is overwritten, and a reader that
 * comes too late learns how many lines it lost. The buffer never slows the process that writes.
 */
import type { GuestLogLine } from "../../control/contract/guest-api.ts";
import { LOG_BUFFER_BYTES } from "../../control/contract/guest-limits.ts";

export type LogStream = "stdout" | "stderr" | "system";

/** What a line costs beside its characters. */
const LINE_OVERHEAD_BYTES = 64;

export class LogRing {
  readonly #now: () => number;
  readonly #bytesMax: number;
  #lines: GuestLogLine[] = [];
  #first = 0;
  #bytes = 0;
  #next = 0;
  #closed = false;
  #wake = Promise.withResolvers<void>();

  constructor(now: () => number, bytesMax = LOG_BUFFER_BYTES) {
    this.#now = now;
    this.#bytesMax = bytesMax;
  }

  /** Since the boot: how many lines there were, and how many of them fell out, read or not. */
  get counts(): { lines: number; dropped: number } {
    return { lines: this.#next, dropped: this.#next - (this.#lines.length - this.#first) };
  }

  get closed(): boolean {
    return this.#closed;
  }

  add(stream: LogStream, line: string): void {
    this.#lines.push({ seq: this.#next++, stream, at_ms: this.#now(), line });
    this.#bytes += costOf(line);
    while (this.#bytes > this.#bytesMax && this.#first < this.#lines.length - 1) {
      this.#bytes -= costOf(this.#lines[this.#first]!.line);
      this.#lines[this.#first++] = undefined as unknown as GuestLogLine;
    }
    // The array's dead head is cut off now and then, so that dropping a line costs nothing on average.
    if (this.#first > 256 && this.#first * 2 > this.#lines.length) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
    this.#ring();
  }

  /** No more lines will come. */
  close(): void {
    this.#closed = true;
    this.#ring();
  }

  /** More lines come after all: the process runs again. */
  reopen(): void {
    this.#closed = false;
  }

  /** Lines from `seq` on, at most `count`; a `lost` line first where older ones are gone. */
  from(seq: number, count: number): GuestLogLine[] {
    const oldest = this.#next - (this.#lines.length - this.#first);
    const start = Math.min(Math.max(seq, oldest), this.#next);
    const at = this.#first + start - oldest;
    const lines = this.#lines.slice(at, at + count);
    if (seq >= oldest) return lines;
    return [{ seq: oldest - 1, stream: "lost", at_ms: this.#now(), line: String(oldest - seq) }, ...lines];
  }

  /** Resolves at the next line or at the close. */
  more(): Promise<void> {
    return this.#wake.promise;
  }

  #ring(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}

function costOf(line: string): number {
  return line.length + LINE_OVERHEAD_BYTES;
}

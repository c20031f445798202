/** Bytes to lines. A line longer than LOG_LINE_BYTES_MAX is cut into several; a last one without newline counts. */
import { LOG_LINE_BYTES_MAX } from "../../control/contract/guest-limits.ts";

const NEWLINE = 10;
const RETURN = 13;

export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest: Uint8Array = new Uint8Array(0);

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      while (end - start > LOG_LINE_BYTES_MAX) {
        this.#emit(bytes.subarray(start, start + LOG_LINE_BYTES_MAX));
        start += LOG_LINE_BYTES_MAX;
      }
      if (newline < 0) break;
      this.#emit(
        bytes.subarray(start, bytes[newline - 1] === RETURN && newline > start ? newline - 1 : newline),
      );
      start = newline + 1;
    }
    this.#rest = bytes.slice(start);
  }

  end(): void {
    if (this.#rest.length > 0) this.#emit(this.#rest);
    this.#rest = new Uint8Array(0);
  }

  #emit(line: Uint8Array): void {
    this.#onLine(this.#decoder.decode(line));
  }
}

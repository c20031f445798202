/** How far a copy is, on one line of a terminal that is rewritten; nothing where there is none, or where JSON is wanted. */
import type { Session } from "./session.ts";

const INTERVAL_MS = 100;
const MIB = 1_048_576;

export class Progress {
  readonly #name: string;
  readonly #total: number | null;
  readonly #isShown: boolean;
  #lastMs = 0;
  #width = 0;

  constructor(session: Session, name: string, total: number | null) {
    this.#name = name;
    this.#total = total;
    this.#isShown = process.stderr.isTTY === true && !session.flags.json;
  }

  at(bytes: number): void {
    const now = performance.now();
    if (!this.#isShown || now - this.#lastMs < INTERVAL_MS) return;
    this.#lastMs = now;
    const line = `${this.#name}  ${progressInWords(bytes, this.#total)}`;
    process.stderr.write(`\r${line.padEnd(this.#width)}`);
    this.#width = line.length;
  }

  end(): void {
    if (this.#width > 0) process.stderr.write(`\r${" ".repeat(this.#width)}\r`);
    this.#width = 0;
  }
}

export function progressInWords(bytes: number, total: number | null): string {
  const mib = (count: number) => `${(count / MIB).toFixed(1)} MiB`;
  if (total === null) return mib(bytes);
  const percent = total === 0 ? 100 : Math.floor(Math.min(bytes / total, 1) * 100);
  return `${String(percent).padStart(3)} %  ${mib(bytes)} of ${mib(total)}`;
}

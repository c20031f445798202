/**
 * Lines for one client. What it does not read waits here up to a bound, and a client that does not read at all is given a
 * time; past either it is told why in its last line, should it read again, and cut off.
 */
import type { ServerResponse } from "node:http";
import { GodwitError } from "../../control/contract/errors.ts";
import type { QueryLimits } from "./query-limits.ts";

const CHUNK_BYTES = 65_536;

export class LineWriter {
  readonly #response: ServerResponse;
  readonly #limits: QueryLimits;
  readonly #onCutOff: () => void;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #pumping: Promise<void> | null = null;
  #ended = false;

  constructor(response: ServerResponse, limits: QueryLimits, onCutOff: () => void) {
    this.#response = response;
    this.#limits = limits;
    this.#onCutOff = onCutOff;
  }

  get idle(): boolean {
    return this.#pumping === null && !this.#ended;
  }

  line(value: unknown): void {
    this.text(`${JSON.stringify(value)}\n`);
  }

  /** Whole lines. */
  text(text: string): void {
    if (this.#ended) return;
    this.#waiting.push(text);
    this.#waitingBytes += Buffer.byteLength(text);
    if (this.#waitingBytes > this.#limits.unreadBytesMax) {
      return this.#cutOff(`${this.#waitingBytes} bytes wait to be read`);
    }
    this.#pumping ??= this.#pump().finally(() => this.#pumping = null);
  }

  /** After all lines. */
  async end(): Promise<void> {
    while (this.#pumping !== null) await this.#pumping;
    if (this.#ended) return;
    this.#ended = true;
    this.#response.end();
  }

  /** In place of the lines that wait. */
  refuse(error: GodwitError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#response.write(`${JSON.stringify({ error: error.toWire() })}\n`);
    this.#response.end();
    const timer = setTimeout(() => this.#response.destroy(), this.#limits.farewellMsMax);
    this.#response.once("close", () => clearTimeout(timer));
  }

  #cutOff(what: string): void {
    this.#onCutOff();
    this.refuse(
      new GodwitError("query.slow_reader", `Cut off, because this client reads too slowly: ${what}`, {
        fault: "client",
        retryable: true,
        hint: "read faster, or watch less; what was read stays good up to its last cursor",
      }),
    );
  }

  async #pump(): Promise<void> {
    // Whoever has added a line goes on first, so that many small ones leave together.
    await null;
    while (!this.#ended && this.#waiting.length > 0) {
      let chunk = "";
      let taken = 0;
      while (taken < this.#waiting.length && chunk.length < CHUNK_BYTES) chunk += this.#waiting[taken++]!;
      this.#waiting.splice(0, taken);
      this.#waitingBytes -= Buffer.byteLength(chunk);
      if (!this.#response.write(chunk) && !await this.#drained()) return;
    }
  }

  #drained(): Promise<boolean> {
    const { stallMsMax } = this.#limits;
    return new Promise((resolve) => {
      const end = (taken: boolean) => {
        clearTimeout(timer);
        this.#response.off("drain", onDrain);
        this.#response.off("close", onClose);
        resolve(taken);
      };
      const onDrain = () => end(true);
      const onClose = () => {
        this.#ended = true;
        end(false);
      };
      const timer = setTimeout(() => {
        end(false);
        this.#cutOff(`it has read nothing for ${stallMsMax} ms`);
      }, stallMsMax);
      this.#response.once("drain", onDrain);
      this.#response.once("close", onClose);
    });
  }
}

/**
 * Request ids in the reference's form: a ULID, a hyphen, the edge's region. Time, 50 bits drawn once for the process and a
 * counter make them unique and sortable; nothing relies on their being secret, so nothing is drawn per request.
 *
 * The draw is a cryptographic one because processes start together: `Math.random` of JavaScriptCore has a seed of 32
 * bits, and a thousand edges would share one within a few years of restarts.
 */
import { getRandomValues } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const TIME_DIGITS = 10;
const PROCESS_DIGITS = 10;
const COUNTER_DIGITS = 6;
/** The last two digits are looked up, those before them change every 1,024 ids. */
const TAIL_DIGITS = 2;
const TAILS = 32 ** TAIL_DIGITS;
const COUNTER_MAX = 32 ** COUNTER_DIGITS;

export class RequestIds {
  readonly #process: string;
  readonly #tails: readonly string[];
  #counter: number;
  #timeMs = -1;
  #time = "";
  #start = "";

  /** @param drawn bytes, more than 10; of a cryptographic source */
  constructor(region: string, drawn: Uint8Array = getRandomValues(new Uint8Array(16))) {
    this.#process = Array.from(drawn.subarray(0, PROCESS_DIGITS), (byte) => ALPHABET[byte % 32]).join("");
    this.#counter = drawn.subarray(PROCESS_DIGITS).reduce((sum, byte) => (sum * 256 + byte) % COUNTER_MAX, 0);
    this.#tails = Array.from({ length: TAILS }, (_, tail) => `${encode(tail, TAIL_DIGITS)}-${region}`);
  }

  /** @param wallMs whole milliseconds since 1970 */
  next(wallMs: number): string {
    this.#counter = (this.#counter + 1) % COUNTER_MAX;
    const tail = this.#counter % TAILS;
    if (wallMs !== this.#timeMs || tail === 0 || this.#start === "") {
      if (wallMs !== this.#timeMs) this.#time = encode(wallMs, TIME_DIGITS);
      this.#timeMs = wallMs;
      this.#start = this.#time + this.#process +
        encode((this.#counter - tail) / TAILS, COUNTER_DIGITS - TAIL_DIGITS);
    }
    return this.#start + this.#tails[tail]!;
  }
}

function encode(value: number, digits: number): string {
  let text = "";
  for (let i = 0; i < digits; i++) {
    text = ALPHABET[value % 32] + text;
    value = Math.floor(value / 32);
  }
  return text;
}

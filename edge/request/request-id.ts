/**
 * Request ids in the reference's form: a ULID, a hyphen, the edge's region. Time and a counter that starts at random
 * make them unique and sortable; nothing relies on their being secret, so no random bytes are drawn per request.
 */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const COUNTER_MAX = 32 ** 6;

export class RequestIds {
  readonly #region: string;
  readonly #process: string;
  #counter: number;
  #timeMs = -1;
  #time = "";

  constructor(region: string, random: () => number = Math.random) {
    this.#region = region;
    this.#process = encode(Math.floor(random() * 32 ** 5), 5) + encode(Math.floor(random() * 32 ** 5), 5);
    this.#counter = Math.floor(random() * COUNTER_MAX);
  }

  next(wallMs: number): string {
    if (wallMs !== this.#timeMs) {
      this.#timeMs = wallMs;
      this.#time = encode(wallMs, 10);
    }
    this.#counter = (this.#counter + 1) % COUNTER_MAX;
    return `${this.#time}${this.#process}${encode(this.#counter, 6)}-${this.#region}`;
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

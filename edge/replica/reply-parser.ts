/**
 * A reply of Redis in RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), out of the pieces in which it
 * comes. What has been read of it is kept, so that a reply of megabytes is looked through once. Pure.
 */

/** An error that the server answered with. */
export class ReplyError extends Error {}

export type Reply<Field> = Field | number | null | Reply<Field>[];

/** Those of the commands that are used here have four. */
const DEPTH_MAX = 8;
const CR = 0x0d,
  MINUS = 0x2d,
  ZERO = 0x30,
  BULK = 0x24,
  ARRAY = 0x2a,
  INTEGER = 0x3a,
  SIMPLE = 0x2b,
  ERROR = 0x2d;

/** What is made of a string, from and up to these places; it may keep the bytes. */
export type Decode<Field> = (bytes: Buffer, from: number, to: number) => Field;

interface OpenArray<Field> {
  readonly items: Reply<Field>[];
  left: number;
}

export class ReplyParser<Field> {
  readonly #decode: Decode<Field>;
  #rest: Buffer[] = [];
  #size = 0;
  /** With fewer bytes than this there is nothing to go on with. */
  #needed = 1;
  #open: OpenArray<Field>[] = [];

  constructor(decode: Decode<Field>) {
    this.#decode = decode;
  }

  /**
   * @returns the reply once all of it is there, a server's error as a ReplyError; before that, undefined
   * @throws where it is no reply, or more than one
   */
  push(bytes: Buffer): Reply<Field> | ReplyError | undefined {
    this.#size += bytes.length;
    this.#rest.push(bytes);
    if (this.#size < this.#needed) return undefined;
    return this.#read(this.#rest.length === 1 ? bytes : Buffer.concat(this.#rest));
  }

  #read(bytes: Buffer): Reply<Field> | ReplyError | undefined {
    for (let at = 0;;) {
      const lineEnd = bytes.indexOf(CR, at);
      if (lineEnd === -1 || lineEnd + 2 > bytes.length) return this.#wait(bytes, at, bytes.length - at + 1);
      let end = lineEnd + 2;
      let value: Reply<Field>;
      switch (bytes[at]) {
        case BULK: {
          const length = numberAt(bytes, at + 1, lineEnd);
          if (length < 0) value = null;
          else {
            const from = end;
            end += length + 2;
            if (end > bytes.length) return this.#wait(bytes, at, end - at);
            value = this.#decode(bytes, from, end - 2);
          }
          break;
        }
        case ARRAY: {
          const left = numberAt(bytes, at + 1, lineEnd);
          if (left > 0) {
            if (this.#open.length >= DEPTH_MAX) throw new Error(`a reply nested more than ${DEPTH_MAX} deep`);
            this.#open.push({ items: [], left });
            at = end;
            continue;
          }
          value = left < 0 ? null : [];
          break;
        }
        case INTEGER:
          value = numberAt(bytes, at + 1, lineEnd);
          break;
        case SIMPLE:
          value = this.#decode(bytes, at + 1, lineEnd);
          break;
        case ERROR:
          return this.#end(new ReplyError(bytes.toString("utf8", at + 1, lineEnd)), bytes, end);
        default:
          throw new Error(`no reply begins with byte ${bytes[at]}`);
      }
      at = end;
      for (;;) {
        const array = this.#open.at(-1);
        if (array === undefined) return this.#end(value, bytes, at);
        array.items.push(value);
        if (--array.left > 0) break;
        value = array.items;
        this.#open.pop();
      }
    }
  }

  #wait(bytes: Buffer, at: number, needed: number): undefined {
    this.#rest = [bytes.subarray(at)];
    this.#size = bytes.length - at;
    this.#needed = needed;
  }

  #end<R>(reply: R, bytes: Buffer, at: number): R {
    if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes after a reply`);
    this.#rest = [];
    this.#size = 0;
    this.#needed = 1;
    this.#open = [];
    return reply;
  }
}

function numberAt(bytes: Buffer, from: number, to: number): number {
  const isNegative = bytes[from] === MINUS;
  let number = 0;
  for (let at = isNegative ? from + 1 : from; at < to; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) throw new Error(`a reply's number has byte ${bytes[at]}`);
    number = number * 10 + digit;
  }
  return isNegative ? -number : number;
}

/**
 * Writes header blocks (RFC 7541). Fields that repeat on a connection get a place in the table and then cost a byte; those
 * that differ each time (`VARYING`) would only push the others out, and secrets (`NEVER_INDEXED`) must not be guessable by
 * their effect on sizes (section 7.1). Strings are written plain: Huffman coding would save a third of the rare literals'
 * bytes for more processor time than the rest of the block takes.
 */
import { FieldCursor } from "../relay/field-cursor.ts";
import { FIELD_OVERHEAD_BYTES, STATIC_FIELDS, STATIC_NAMES, TABLE_BYTES_DEFAULT } from "./hpack-table.ts";

const VARYING = new Set([
  "age",
  "content-length",
  "content-range",
  "etag",
  "fly-client-ip",
  "fly-request-id",
  "last-modified",
  "location",
  "traceparent",
  "x-forwarded-for",
  "x-request-id",
  ":path",
]);
const NEVER_INDEXED = new Set(["authorization", "cookie", "proxy-authorization", "set-cookie"]);
/** Of HTTP/1.1 alone (RFC 9113 section 8.2.2); `host` has become `:authority`. */
const CONNECTION_FIELDS = new Set([
  "connection",
  "host",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
const STATUS_INDEX = new Map([[200, 8], [204, 9], [206, 10], [304, 11], [400, 12], [404, 13], [500, 14]]);
const INDEXED_LINE_BYTES_MAX = 256;

const INDEXED = 0x80;
const LITERAL_KEPT = 0x40;
const LITERAL_NEVER = 0x10;
const LITERAL = 0x00;

interface Entry {
  readonly line: string;
  readonly size: number;
  readonly number: number;
}

const cursor = new FieldCursor();

export class HpackEncoder {
  #capacity = TABLE_BYTES_DEFAULT;
  /** The smallest capacity since the last block, which the peer must hear of first (section 4.2); Infinity: no change. */
  #smallest = Infinity;
  readonly #places = new Map<string, Entry>();
  readonly #queue: Entry[] = [];
  #first = 0;
  #size = 0;
  #added = 0;
  #block = Buffer.allocUnsafe(1_024);
  #at = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; more than the default is not used. */
  setCapacity(bytes: number): void {
    const capacity = Math.min(bytes, TABLE_BYTES_DEFAULT);
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    this.#smallest = Math.min(this.#smallest, capacity);
    this.#evictTo(capacity);
  }

  begin(): this {
    this.#at = 0;
    if (this.#smallest !== Infinity) {
      if (this.#smallest < this.#capacity) this.#integer(5, 0x20, this.#smallest);
      this.#integer(5, 0x20, this.#capacity);
      this.#smallest = Infinity;
    }
    return this;
  }

  /** @returns the block since `begin()`; valid until the next one */
  end(): Buffer {
    return this.#block.subarray(0, this.#at);
  }

  status(code: number): this {
    const index = STATUS_INDEX.get(code);
    if (index !== undefined) this.#byte(INDEXED | index);
    else this.field(":status", String(code));
    return this;
  }

  /** @param name lower case */
  field(name: string, value: string): this {
    if (NEVER_INDEXED.has(name)) this.#literal(LITERAL_NEVER, 4, name, value);
    else if (VARYING.has(name)) this.#literal(LITERAL, 4, name, value);
    else this.#repeating(`${name}:${value}`, name, value);
    return this;
  }

  /** Header lines of HTTP/1.1, each with CR LF; those of the connection alone are left out. */
  lines(text: string): this {
    cursor.begin(text, 0);
    while (cursor.next < text.length && cursor.advance()) {
      const line = text.slice(cursor.start, cursor.valueEnd);
      const entry = this.#places.get(line);
      if (entry !== undefined) {
        this.#indexed(entry);
        continue;
      }
      const name = text.slice(cursor.start, cursor.nameEnd).toLowerCase();
      if (CONNECTION_FIELDS.has(name)) continue;
      if (NEVER_INDEXED.has(name)) this.#literal(LITERAL_NEVER, 4, name, cursor.value);
      else if (VARYING.has(name)) this.#literal(LITERAL, 4, name, cursor.value);
      else this.#add(line, name, cursor.value);
    }
    return this;
  }

  #repeating(line: string, name: string, value: string): void {
    const entry = this.#places.get(line);
    if (entry !== undefined) this.#indexed(entry);
    else this.#add(line, name, value);
  }

  #indexed(entry: Entry): void {
    this.#integer(7, INDEXED, STATIC_FIELDS.length + this.#added - entry.number);
  }

  /** `line` is the key: the field as it was given, so that finding it again takes no other form of it. */
  #add(line: string, name: string, value: string): void {
    const size = name.length + value.length + FIELD_OVERHEAD_BYTES;
    if (line.length > INDEXED_LINE_BYTES_MAX || size > this.#capacity) {
      return this.#literal(LITERAL, 4, name, value);
    }
    this.#literal(LITERAL_KEPT, 6, name, value);
    this.#evictTo(this.#capacity - size);
    const entry = { line, size, number: this.#added++ };
    this.#size += size;
    this.#queue.push(entry);
    this.#places.set(line, entry);
  }

  #evictTo(size: number): void {
    while (this.#size > size) {
      const oldest = this.#queue[this.#first++]!;
      this.#size -= oldest.size;
      this.#places.delete(oldest.line);
    }
    if (this.#first > 64) {
      this.#queue.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #literal(kind: number, prefixBits: number, name: string, value: string): void {
    const index = STATIC_NAMES.get(name) ?? 0;
    this.#integer(prefixBits, kind, index);
    if (index === 0) this.#string(name);
    this.#string(value);
  }

  #string(text: string): void {
    this.#integer(7, 0, text.length);
    this.#room(text.length);
    this.#block.write(text, this.#at, "latin1");
    this.#at += text.length;
  }

  #integer(prefixBits: number, kind: number, value: number): void {
    const mask = (1 << prefixBits) - 1;
    if (value < mask) return this.#byte(kind | value);
    this.#byte(kind | mask);
    let rest = value - mask;
    for (; rest >= 0x80; rest >>>= 7) this.#byte(rest & 0x7f | 0x80);
    this.#byte(rest);
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#block[this.#at++] = byte;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#block.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#block.length * 2, this.#at + bytes));
    this.#block.copy(larger, 0, 0, this.#at);
    this.#block = larger;
  }
}

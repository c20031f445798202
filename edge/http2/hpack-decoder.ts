/**
 * Reads header blocks (RFC 7541). The table is bounded by the size that this side has announced (the default, 4,096), and
 * every field is given to the sink at once, so that a block which unpacks to more than it should is counted and not kept.
 * A block must be read to its end even where its stream has been refused: the next one leans on the table.
 */
import { Field, STATIC_FIELDS, TABLE_BYTES_DEFAULT } from "./hpack-table.ts";
import { huffmanDecode } from "./huffman.ts";

export interface FieldSink {
  field(field: Field): void;
}

/** Above any length or index that can be meant here, and far from where numbers stop being exact. */
const INTEGER_MAX = 0x0fff_ffff;
/** Evicted entries are cut off the array in lots. */
const EVICTED_KEPT_MAX = 64;

export class HpackDecoder {
  readonly #bytesMax: number;
  #capacity: number;
  #entries: (Field | undefined)[] = [];
  #first = 0;
  #size = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #to = 0;

  constructor(bytesMax: number = TABLE_BYTES_DEFAULT) {
    this.#bytesMax = this.#capacity = bytesMax;
  }

  /** Bytes of the dynamic table as section 4.1 counts them. */
  get size(): number {
    return this.#size;
  }

  /** @returns false where the block is broken: the connection cannot go on (COMPRESSION_ERROR) */
  decode(block: Buffer, from: number, to: number, sink: FieldSink): boolean {
    this.#bytes = block;
    this.#at = from;
    this.#to = to;
    let mayResize = true;
    while (this.#at < to) {
      const byte = block[this.#at]!;
      if (byte >= 0x80) {
        const field = this.#lookup(this.#integer(7));
        if (field === undefined) return false;
        sink.field(field);
      } else if (byte >= 0x40) {
        const field = this.#literal(6);
        if (field === null) return false;
        this.#add(field);
        sink.field(field);
      } else if (byte >= 0x20) {
        const capacity = this.#integer(5);
        if (!mayResize || capacity === -1 || capacity > this.#bytesMax) return false;
        this.#capacity = capacity;
        this.#evictTo(capacity);
        continue;
      } else {
        const field = this.#literal(4);
        if (field === null) return false;
        sink.field(field);
      }
      mayResize = false;
    }
    return true;
  }

  #literal(prefixBits: number): Field | null {
    const index = this.#integer(prefixBits);
    if (index === -1) return null;
    const name = index === 0 ? this.#string() : this.#lookup(index)?.name ?? null;
    if (name === null) return null;
    const value = this.#string();
    return value === null ? null : new Field(name, value);
  }

  /** Section 5.1; -1 where the number does not end or is too large. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#bytes[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#to) return -1;
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value > INTEGER_MAX ? -1 : value;
    }
    return -1;
  }

  /** Section 5.2. */
  #string(): string | null {
    if (this.#at >= this.#to) return null;
    const huffman = this.#bytes[this.#at]! >= 0x80;
    const length = this.#integer(7);
    if (length === -1 || length > this.#to - this.#at) return null;
    const from = this.#at;
    this.#at += length;
    return huffman
      ? huffmanDecode(this.#bytes, from, this.#at)
      : this.#bytes.toString("latin1", from, this.#at);
  }

  #lookup(index: number): Field | undefined {
    if (index <= 0) return undefined;
    if (index <= STATIC_FIELDS.length) return STATIC_FIELDS[index - 1];
    const at = this.#entries.length - (index - STATIC_FIELDS.length);
    return at < this.#first ? undefined : this.#entries[at];
  }

  #add(field: Field): void {
    // One that is larger than the table empties it (section 4.4).
    this.#evictTo(this.#capacity - field.size);
    if (field.size > this.#capacity) return;
    this.#entries.push(field);
    this.#size += field.size;
  }

  #evictTo(size: number): void {
    while (this.#size > size && this.#first < this.#entries.length) {
      this.#size -= this.#entries[this.#first]!.size;
      this.#entries[this.#first++] = undefined;
    }
    if (this.#first > EVICTED_KEPT_MAX) {
      this.#entries.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

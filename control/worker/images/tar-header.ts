/**
 * One header block of a tar archive, and the records of a PAX extended header: POSIX.1-2017 "pax", and the GNU variants
 * that images use. Names are kept as latin1 strings, one character a byte: a file system knows bytes, not characters.
 */
export const TAR_BLOCK_BYTES = 512;

/** What a header block says, before PAX records and GNU long names are applied. */
export interface TarHeader {
  readonly name: string;
  readonly linkname: string;
  /** One character, as in the archive. */
  readonly typeflag: string;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtimeS: number;
  readonly devmajor: number;
  readonly devminor: number;
}

const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;
const SPACE = 32;

/** Null for a block of zeros. @throws Error in words where it is no header */
export function readTarHeader(block: Uint8Array): TarHeader | null {
  if (block.every((byte) => byte === 0)) return null;
  const expected = numberAt(block, CHECKSUM_AT, CHECKSUM_BYTES, "checksum");
  const sums = checksums(block);
  if (expected !== sums.unsigned && expected !== sums.signed) throw new Error("a header's checksum is wrong");
  const name = textAt(block, 0, 100);
  // Of ustar alone: GNU tar keeps times in the place of the prefix.
  const isUstar = textAt(block, 257, 6) === "ustar" && block[263] === 0x30;
  const prefix = isUstar ? textAt(block, 345, 155) : "";
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkname: textAt(block, 157, 100),
    typeflag: String.fromCharCode(block[156] ?? 0),
    size: numberAt(block, 124, 12, "size"),
    mode: numberAt(block, 100, 8, "mode"),
    uid: numberAt(block, 108, 8, "uid"),
    gid: numberAt(block, 116, 8, "gid"),
    mtimeS: numberAt(block, 136, 12, "mtime"),
    devmajor: numberAt(block, 329, 8, "devmajor"),
    devminor: numberAt(block, 337, 8, "devminor"),
  };
}

/** The records `LENGTH KEY=VALUE\n`; values are latin1. @throws Error in words */
export function readPaxRecords(bytes: Uint8Array): Map<string, string> {
  const records = new Map<string, string>();
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  for (let at = 0; at < text.length;) {
    const space = text.indexOf(" ", at);
    const digits = text.slice(at, space);
    const length = Number(digits);
    const end = at + length;
    const equals = text.indexOf("=", space);
    if (space < 0 || !/^[0-9]{1,10}$/.test(digits) || length < 5 || text[end - 1] !== "\n" || equals < 0) {
      throw new Error("an extended header has a record that cannot be read");
    }
    if (equals >= end) throw new Error("an extended header has a record without a value");
    records.set(text.slice(space + 1, equals), text.slice(equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** Octal, or GNU's base 256 where the first bit is set. */
function numberAt(block: Uint8Array, at: number, bytes: number, what: string): number {
  const field = block.subarray(at, at + bytes);
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    const isNegative = (first & 0x40) !== 0;
    let value = isNegative ? (first | ~0xff) : first & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw new Error(`a header's ${what} is too large`);
    return value;
  }
  const text = textAt(block, at, bytes).trim();
  if (text === "") return 0;
  if (!/^[0-7]+$/.test(text)) throw new Error(`a header's ${what} is ${JSON.stringify(text)}`);
  return Number.parseInt(text, 8);
}

function textAt(block: Uint8Array, at: number, bytes: number): string {
  const field = Buffer.from(block.buffer, block.byteOffset + at, bytes);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end < 0 ? bytes : end);
}

/** Of all bytes, those of the checksum itself as spaces; some old tars took bytes as signed. */
function checksums(block: Uint8Array): { unsigned: number; signed: number } {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < TAR_BLOCK_BYTES; i += 1) {
    const isChecksum = i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES;
    const byte = isChecksum ? SPACE : block[i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return { unsigned, signed };
}

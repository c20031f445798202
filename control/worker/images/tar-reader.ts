/**
 * Reads a tar archive as its bytes come and tells each entry, with the place of its content in the archive. tar-stream was
 * here before: it takes the values of PAX records for UTF-8, which breaks file capabilities (`security.capability` holds
 * any bytes), and hands all content through streams of its own, though nobody wants it yet.
 */
import { readPaxRecords, readTarHeader, TAR_BLOCK_BYTES, type TarHeader } from "./tar-header.ts";

export type EntryType = "file" | "directory" | "symlink" | "link" | "character" | "block" | "fifo";

export interface TarEntry {
  /** latin1, as it stands in the archive. */
  readonly name: string;
  readonly type: EntryType;
  readonly linkname: string;
  readonly size: number;
  /** Permission bits, set-id and sticky bits among them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeS: number;
  readonly mtimeNs: number;
  readonly devmajor: number;
  readonly devminor: number;
  /** By full name (`user.note`), values as bytes. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of the content, in the archive. */
  readonly offset: number;
}

/** Of one extended header or long name. */
const EXTRA_BYTES_MAX = 1_048_576;
const ID_MAX = 0xffff_ffff;
const XATTR_PREFIX = "SCHILY.xattr.";

const TYPES: Readonly<Record<string, EntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "link",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

export class TarReader {
  readonly #onEntry: (entry: TarEntry) => void;
  readonly #block = new Uint8Array(TAR_BLOCK_BYTES);
  #filled = 0;
  #offset = 0;
  /** Of content, padding included, that is passed over. */
  #skip = 0;
  #extra: { readonly typeflag: string; readonly bytes: Uint8Array; filled: number; padding: number } | null =
    null;
  #global = new Map<string, string>();
  #pax = new Map<string, string>();
  #longName: string | null = null;
  #longLink: string | null = null;
  #isOver = false;

  /** What `onEntry` throws, `push` throws. */
  constructor(onEntry: (entry: TarEntry) => void) {
    this.#onEntry = onEntry;
  }

  /** @throws Error in words where the bytes are no tar */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.#isOver) {
      const left = chunk.length - at;
      if (this.#extra !== null) at += this.#takeExtra(chunk, at);
      else if (this.#skip > 0) {
        const passed = Math.min(this.#skip, left);
        this.#skip -= passed;
        at += passed;
        this.#offset += passed;
      } else {
        const taken = Math.min(TAR_BLOCK_BYTES - this.#filled, left);
        this.#block.set(chunk.subarray(at, at + taken), this.#filled);
        this.#filled += taken;
        at += taken;
        this.#offset += taken;
        if (this.#filled === TAR_BLOCK_BYTES) {
          this.#filled = 0;
          this.#header(this.#block);
        }
      }
    }
  }

  /** @throws Error where the archive ends in the middle of something */
  end(): void {
    // Some writers leave the two blocks of zeros out: an end between two entries is an end.
    if (this.#isOver || (this.#filled === 0 && this.#skip === 0 && this.#extra === null)) return;
    throw new Error("it ends in the middle of an entry");
  }

  #header(block: Uint8Array): void {
    const header = readTarHeader(block);
    if (header === null) {
      this.#isOver = true;
      return;
    }
    if (header.size < 0) throw new Error("an entry has a negative size");
    const { typeflag } = header;
    if (!["x", "g", "L", "K"].includes(typeflag)) return this.#entry(header);
    if (header.size > EXTRA_BYTES_MAX) throw new Error("an extended header or a long name is too large");
    this.#extra = {
      typeflag,
      bytes: new Uint8Array(header.size),
      filled: 0,
      padding: padded(header.size) - header.size,
    };
    if (header.size === 0) this.#extra = null;
  }

  #takeExtra(chunk: Uint8Array, at: number): number {
    const extra = this.#extra!;
    const taken = Math.min(extra.bytes.length - extra.filled, chunk.length - at);
    extra.bytes.set(chunk.subarray(at, at + taken), extra.filled);
    extra.filled += taken;
    this.#offset += taken;
    if (extra.filled === extra.bytes.length) {
      this.#extra = null;
      this.#skip = extra.padding;
      this.#takeOver(extra.typeflag, extra.bytes);
    }
    return taken;
  }

  #takeOver(typeflag: string, bytes: Uint8Array): void {
    if (typeflag === "x") this.#pax = readPaxRecords(bytes);
    else if (typeflag === "g") {
      for (const [key, value] of readPaxRecords(bytes)) this.#global.set(key, value);
    } else {
      const text = Buffer.from(bytes).toString("latin1");
      const end = text.indexOf("\0");
      const name = end < 0 ? text : text.slice(0, end);
      if (typeflag === "L") this.#longName = name;
      else this.#longLink = name;
    }
  }

  /** An empty value takes a record back (pax, "Extended Header"). */
  #records(): ReadonlyMap<string, string> {
    if (this.#global.size === 0 && this.#pax.size === 0) return this.#pax;
    return new Map([...this.#global, ...this.#pax].filter(([, value]) => value !== ""));
  }

  #entry(header: TarHeader): void {
    const pax = this.#records();
    const name = pax.get("path") ?? this.#longName ?? header.name;
    const isFolder = name.endsWith("/") && ["0", "\0"].includes(header.typeflag); // as tar did before ustar
    const type = isFolder ? "directory" : TYPES[header.typeflag];
    const size = numberOf(pax, "size") ?? header.size;
    if (type === undefined || [...pax.keys()].some((key) => key.startsWith("GNU.sparse."))) {
      throw new Error(
        `entry ${JSON.stringify(name)} is of type ${JSON.stringify(header.typeflag)}, or sparse`,
      );
    }
    const [mtimeS, mtimeNs] = mtimeOf(pax) ?? [header.mtimeS, 0];
    const hasContent = type === "file" || type === "directory";
    const entry: TarEntry = {
      name,
      type,
      linkname: pax.get("linkpath") ?? this.#longLink ?? header.linkname,
      size: type === "file" ? size : 0,
      mode: header.mode & 0o7777,
      uid: idOf(numberOf(pax, "uid") ?? header.uid),
      gid: idOf(numberOf(pax, "gid") ?? header.gid),
      mtimeS,
      mtimeNs,
      devmajor: header.devmajor,
      devminor: header.devminor,
      xattrs: xattrsOf(pax),
      offset: this.#offset,
    };
    this.#pax = new Map();
    this.#longName = this.#longLink = null;
    // A hard link may name its target's size without having content (POSIX.1-2001 lets it have some; no image tool does).
    this.#skip = hasContent ? padded(size) : 0;
    this.#onEntry(entry);
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
}

function numberOf(pax: ReadonlyMap<string, string>, key: string): number | null {
  const text = pax.get(key);
  if (text === undefined) return null;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new Error(`an extended header has ${key}=${JSON.stringify(text.slice(0, 32))}`);
  }
  return value;
}

/** `1700000000.123456789` */
function mtimeOf(pax: ReadonlyMap<string, string>): [number, number] | null {
  const match = /^(-?[0-9]{1,15})(?:\.([0-9]{1,9})[0-9]*)?$/.exec(pax.get("mtime") ?? "");
  if (match === null) return null;
  return [Number(match[1]), Number((match[2] ?? "0").padEnd(9, "0"))];
}

function idOf(id: number): number {
  if (id < 0 || id > ID_MAX) throw new Error(`an owner's number is ${id}`);
  return id;
}

const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

function xattrsOf(pax: ReadonlyMap<string, string>): ReadonlyMap<string, Uint8Array> {
  let found: Map<string, Uint8Array> | null = null;
  for (const [key, value] of pax) {
    if (!key.startsWith(XATTR_PREFIX)) continue;
    found ??= new Map();
    found.set(key.slice(XATTR_PREFIX.length), new Uint8Array(Buffer.from(value, "latin1")));
  }
  return found ?? NO_XATTRS;
}

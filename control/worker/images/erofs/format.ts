/**
 * EROFS on disk, as far as an uncompressed image of extended inodes needs it: the kernel's fs/erofs/erofs_fs.h, and
 * https://erofs.docs.kernel.org/en/latest/core_ondisk.html. All numbers are little-endian.
 */
import type { Inode } from "../image-tree.ts";

export const BLOCK_BYTES = 4_096;
/** Where the superblock stands. */
export const SUPERBLOCK_AT = 1_024;
export const SUPERBLOCK_BYTES = 128;
/** Inodes are numbered by their place, in units of this. */
export const SLOT_BYTES = 32;
export const INODE_BYTES = 64;
/** `root_nid` is 16 bits wide. */
export const ROOT_NID_MAX = 0xffff;
const SUPERBLOCK_MAGIC = 0xe0f5e1e2;
const BLOCK_BITS = 12;
const DIRENT_BYTES = 12;
const XATTR_HEADER_BYTES = 12;
const XATTR_ENTRY_BYTES = 4;
export const XATTR_VALUE_BYTES_MAX = 0xffff;

/** `i_format`: extended inode; all content in blocks of its own. */
const EXTENDED_PLAIN = 1 | (0 << 1);
/** `i_format`: extended inode; whole blocks elsewhere, the rest behind the inode. */
const EXTENDED_INLINE = 1 | (2 << 1);

const FILE_TYPES: Readonly<Record<Inode["type"], { readonly dirent: number; readonly mode: number }>> = {
  file: { dirent: 1, mode: 0o100000 },
  directory: { dirent: 2, mode: 0o040000 },
  character: { dirent: 3, mode: 0o020000 },
  block: { dirent: 4, mode: 0o060000 },
  fifo: { dirent: 5, mode: 0o010000 },
  symlink: { dirent: 7, mode: 0o120000 },
};

/** `e_name_index`: prefixes of names that are not stored. */
const XATTR_PREFIXES: readonly (readonly [string, number])[] = [
  ["user.", 1],
  ["system.posix_acl_access", 2],
  ["system.posix_acl_default", 3],
  ["trusted.", 4],
  ["security.", 6],
];

export interface Superblock {
  readonly rootNid: number;
  readonly inodes: number;
  readonly blocks: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
}

export function encodeSuperblock({ rootNid, inodes, blocks, uuid }: Superblock): Uint8Array {
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, SUPERBLOCK_MAGIC, true);
  view.setUint8(12, BLOCK_BITS);
  view.setUint16(14, rootNid, true);
  view.setBigUint64(16, BigInt(inodes), true);
  view.setUint32(36, blocks, true);
  view.setUint32(40, 0, true); // meta_blkaddr: slots count from the start of the file
  bytes.set(uuid, 48);
  return bytes;
}

export interface InodeRecord {
  readonly inode: Inode;
  readonly size: number;
  readonly links: number;
  /** Of stat(2). */
  readonly number: number;
  /** Of its whole blocks; of no meaning where it has none. */
  readonly firstBlock: number;
  readonly isTailInline: boolean;
  readonly xattrBytes: number;
}

/** Writes 64 bytes. */
export function encodeInode(into: Uint8Array, at: number, record: InodeRecord): void {
  const { inode } = record;
  const view = new DataView(into.buffer, into.byteOffset + at, INODE_BYTES);
  view.setUint16(0, record.isTailInline ? EXTENDED_INLINE : EXTENDED_PLAIN, true);
  view.setUint16(2, xattrCount(record.xattrBytes), true);
  view.setUint16(4, FILE_TYPES[inode.type].mode | inode.mode, true);
  view.setBigUint64(8, BigInt(record.size), true);
  view.setUint32(16, isDevice(inode) ? deviceNumber(inode) : record.firstBlock, true);
  view.setUint32(20, record.number, true);
  view.setUint32(24, inode.uid, true);
  view.setUint32(28, inode.gid, true);
  view.setBigInt64(32, BigInt(inode.mtimeS), true);
  view.setUint32(40, inode.mtimeNs, true);
  view.setUint32(44, record.links, true);
}

function isDevice(inode: Inode): boolean {
  return inode.type === "character" || inode.type === "block";
}

/** new_encode_dev() of the kernel's kdev_t.h. */
function deviceNumber({ devmajor, devminor }: Inode): number {
  return ((devminor & 0xff) | (devmajor << 8) | ((devminor & ~0xff) << 12)) >>> 0;
}

/** Extended attributes as they follow the inode; nothing where there are none. */
export function encodeXattrs(xattrs: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const entries = [...xattrs].flatMap(([name, value]) => {
    const prefix = XATTR_PREFIXES.find(([text]) => name.startsWith(text));
    if (prefix === undefined) return []; // a name space that Linux does not have
    return [{ suffix: Buffer.from(name.slice(prefix[0].length), "latin1"), index: prefix[1], value }];
  });
  if (entries.length === 0) return new Uint8Array(0);
  const parts: Uint8Array[] = [new Uint8Array(XATTR_HEADER_BYTES)];
  for (const { suffix, index, value } of entries) {
    const bytes = new Uint8Array(aligned(XATTR_ENTRY_BYTES + suffix.length + value.length, 4));
    const view = new DataView(bytes.buffer);
    view.setUint8(0, suffix.length);
    view.setUint8(1, index);
    view.setUint16(2, value.length, true);
    bytes.set(suffix, XATTR_ENTRY_BYTES);
    bytes.set(value, XATTR_ENTRY_BYTES + suffix.length);
    parts.push(bytes);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** `i_xattr_icount`: the header counts as one, the rest in units of four bytes. */
function xattrCount(xattrBytes: number): number {
  return xattrBytes === 0 ? 0 : (xattrBytes - XATTR_HEADER_BYTES) / 4 + 1;
}

export interface Dirent {
  /** latin1. */
  readonly name: string;
  readonly nid: number;
  readonly type: Inode["type"];
}

/** How many bytes a folder with these names has: each block but the last is whole. Names are sorted. */
export function folderSize(names: readonly string[]): number {
  let whole = 0;
  let used = 0;
  for (const name of names) {
    const bytes = DIRENT_BYTES + name.length;
    if (used + bytes > BLOCK_BYTES) {
      whole += BLOCK_BYTES;
      used = 0;
    }
    used += bytes;
  }
  return whole + used;
}

/** The folder's content, `folderSize` bytes. Entries are sorted by their names' bytes, `.` and `..` among them. */
export function encodeFolder(entries: readonly Dirent[]): Uint8Array {
  const bytes = new Uint8Array(folderSize(entries.map(({ name }) => name)));
  let block = 0;
  for (let first = 0; first < entries.length; block += BLOCK_BYTES) {
    let count = 0;
    for (let used = 0; first + count < entries.length; count += 1) {
      used += DIRENT_BYTES + entries[first + count]!.name.length;
      if (used > BLOCK_BYTES) break;
    }
    encodeFolderBlock(bytes, block, entries.slice(first, first + count));
    first += count;
  }
  return bytes;
}

function encodeFolderBlock(bytes: Uint8Array, block: number, entries: readonly Dirent[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + block);
  let nameAt = entries.length * DIRENT_BYTES;
  for (const [i, { name, nid, type }] of entries.entries()) {
    view.setBigUint64(i * DIRENT_BYTES, BigInt(nid), true);
    view.setUint16(i * DIRENT_BYTES + 8, nameAt, true);
    view.setUint8(i * DIRENT_BYTES + 10, FILE_TYPES[type].dirent);
    bytes.set(Buffer.from(name, "latin1"), block + nameAt);
    nameAt += name.length;
  }
}

export function aligned(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}

/**
 * Where everything of an image's tree will stand in the file: pure arithmetic, before a byte is written.
 *
 *   superblock | inodes, each with its xattrs and, where it fits, the end of its content | whole blocks of content
 *
 * Files stand in the order of their content in the layers, in both parts, so that the layers are read and the file is
 * written from front to back. A guest reads a small file with its inode's block.
 */
import { assert, GodwitError } from "../../../contract/errors.ts";
import type { Inode, Node } from "../image-tree.ts";
import {
  aligned,
  BLOCK_BYTES,
  encodeXattrs,
  folderSize,
  INODE_BYTES,
  ROOT_NID_MAX,
  SLOT_BYTES,
  SUPERBLOCK_AT,
  SUPERBLOCK_BYTES,
  XATTR_VALUE_BYTES_MAX,
} from "./format.ts";

/** An end of content longer than this gets a block of its own: behind an inode it would leave as much unused. */
const TAIL_BYTES_MAX = 2_048;

export interface Placed {
  readonly inode: Inode;
  /** Bytes of content; of a folder those of its entries. */
  readonly size: number;
  readonly xattrs: Uint8Array;
  /** The end of the content that follows the inode. */
  readonly tailBytes: number;
  /** Of the inode, from the start of the file. */
  at: number;
  firstBlock: number;
  links: number;
  /** Of a folder: itself and the one above it. */
  readonly folder: { readonly node: Node; readonly parent: Node } | null;
}

export interface Layout {
  /** In the order of their places. */
  readonly placed: readonly Placed[];
  readonly byInode: ReadonlyMap<Inode, Placed>;
  /** Of the part before the whole blocks. */
  readonly metadataBytes: number;
  readonly blocks: number;
}

export function layOut(ref: string, root: Node): Layout {
  const byInode = new Map<Inode, Placed>();
  const others: Placed[] = [];
  const files: Placed[] = [];
  const visit = (node: Node, parent: Node) => {
    const known = byInode.get(node.inode);
    if (known !== undefined) {
      known.links += 1;
      return;
    }
    const placed = place(ref, node, parent);
    byInode.set(node.inode, placed);
    (node.inode.type === "file" && placed.size > 0 ? files : others).push(placed);
    for (const child of node.children.values()) visit(child, node);
  };
  visit(root, root);
  files.sort((a, b) =>
    a.inode.content.layer - b.inode.content.layer || a.inode.content.offset - b.inode.content.offset
  );
  const placed = [...others, ...files];
  const metadataBytes = placeInodes(placed);
  const blocks = placeContent(placed, aligned(metadataBytes, BLOCK_BYTES) / BLOCK_BYTES);
  assert(nidOf(placed[0]!) <= ROOT_NID_MAX, "the root's number fits the superblock");
  return { placed, byInode, metadataBytes, blocks };
}

export function nidOf(placed: Placed): number {
  return placed.at / SLOT_BYTES;
}

/** Names of a folder's entries in the order of their bytes. */
export function namesOf(node: Node): string[] {
  // latin1 has one character a byte, so the order of strings is the order of bytes.
  return [".", "..", ...node.children.keys()].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}

function place(ref: string, node: Node, parent: Node): Placed {
  const { inode } = node;
  const isFolder = inode.type === "directory";
  const size = isFolder ? folderSize(namesOf(node)) : inode.size;
  const xattrs = encodeXattrs(checked(ref, inode.xattrs));
  const rest = size % BLOCK_BYTES;
  const room = BLOCK_BYTES - INODE_BYTES - xattrs.length;
  // A symlink in one piece is read without a look at the disk's blocks.
  const tailMax = inode.type === "file" ? Math.min(TAIL_BYTES_MAX, room) : room;
  const folders = [...node.children.values()].filter((child) => child.inode.type === "directory").length;
  return {
    inode,
    size,
    xattrs,
    tailBytes: rest <= tailMax ? rest : 0,
    at: 0,
    firstBlock: 0,
    links: isFolder ? 2 + folders : 1,
    folder: isFolder ? { node, parent } : null,
  };
}

/** An inode and what follows it lie in one block: the kernel refuses a tail that does not. */
function placeInodes(placed: readonly Placed[]): number {
  let at = SUPERBLOCK_AT + SUPERBLOCK_BYTES;
  for (const one of placed) {
    const bytes = INODE_BYTES + one.xattrs.length + one.tailBytes;
    at = aligned(at, SLOT_BYTES);
    if (at % BLOCK_BYTES + bytes > BLOCK_BYTES) at = aligned(at, BLOCK_BYTES);
    one.at = at;
    at += bytes;
  }
  return at;
}

function placeContent(placed: readonly Placed[], firstBlock: number): number {
  let block = firstBlock;
  for (const one of placed) {
    one.firstBlock = block;
    block += wholeBlocks(one);
  }
  return block;
}

function wholeBlocks({ size, tailBytes }: Placed): number {
  return Math.ceil((size - tailBytes) / BLOCK_BYTES);
}

function checked(
  ref: string,
  xattrs: ReadonlyMap<string, Uint8Array>,
): ReadonlyMap<string, Uint8Array> {
  for (const [name, value] of xattrs) {
    if (value.length <= XATTR_VALUE_BYTES_MAX && name.length <= 255) continue;
    throw new GodwitError(
      "image.unsupported",
      `Cannot use image ${ref}: an extended attribute has a name of ${name.length} and a value of ${value.length} bytes`,
      { fault: "app", hint: `names have at most 255 bytes, values ${XATTR_VALUE_BYTES_MAX}` },
    );
  }
  return xattrs;
}

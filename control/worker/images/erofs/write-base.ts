/**
 * The base of an image: one read-only EROFS file, straight from the layers' plain tars. Uncompressed, because a guest under
 * TCG pays more for decompression than the host for disk, and pages are shared by all machines of the image.
 *
 * umoci and mkfs.erofs did this before, by way of a folder with all files: each file was written twice and read twice, as
 * root, in a folder of the host. Here content is copied once, and no name of an image ever becomes a name of the host.
 */
import { type FileHandle, open } from "node:fs/promises";
import { assert } from "../../../contract/errors.ts";
import type { ImageTree, Node } from "../image-tree.ts";
import {
  BLOCK_BYTES,
  encodeFolder,
  encodeInode,
  encodeSuperblock,
  INODE_BYTES,
  SUPERBLOCK_AT,
} from "./format.ts";
import { type Layout, layOut, namesOf, nidOf, type Placed } from "./layout.ts";
import { TarContent } from "./tar-content.ts";
import { WriteBehind } from "./write-behind.ts";

export interface BaseInput {
  readonly ref: string;
  readonly tree: ImageTree;
  /** Plain tars, in the order of the layers. */
  readonly tars: readonly string[];
  /** 16 bytes: the same image gives the same file on every host. */
  readonly uuid: Uint8Array;
}

/** Answers the file's length; it is on disk then. */
export async function writeBase(file: string, { ref, tree, tars, uuid }: BaseInput): Promise<number> {
  const layout = layOut(ref, tree.root);
  const output = await open(file, "wx", 0o600);
  const content = new TarContent(tars);
  try {
    const bytes = layout.blocks * BLOCK_BYTES;
    await output.truncate(bytes); // what is not written reads as zeros
    await writeSuperblock(output, layout, uuid);
    await writeInodes(output, layout, content);
    await output.sync(); // before it gets its name: nothing half made, power cuts included
    return bytes;
  } finally {
    await content.close();
    await output.close();
  }
}

async function writeSuperblock(output: FileHandle, layout: Layout, uuid: Uint8Array): Promise<void> {
  const superblock = encodeSuperblock({
    rootNid: nidOf(layout.placed[0]!),
    inodes: layout.placed.length,
    blocks: layout.blocks,
    uuid,
  });
  await output.write(superblock, 0, superblock.length, SUPERBLOCK_AT);
}

async function writeInodes(output: FileHandle, layout: Layout, content: TarContent): Promise<void> {
  const metadata = new WriteBehind(output);
  const blocks = new WriteBehind(output);
  for (const [i, placed] of layout.placed.entries()) {
    const head = new Uint8Array(INODE_BYTES + placed.xattrs.length);
    encodeInode(head, 0, {
      inode: placed.inode,
      size: placed.size,
      links: placed.links,
      number: i + 1,
      firstBlock: placed.firstBlock,
      isTailInline: placed.tailBytes > 0,
      xattrBytes: placed.xattrs.length,
    });
    head.set(placed.xattrs, INODE_BYTES);
    await metadata.put(placed.at, head);
    const wholeBytes = placed.size - placed.tailBytes;
    const [blockAt, tailAt] = [placed.firstBlock * BLOCK_BYTES, placed.at + head.length];
    if (placed.inode.type === "file") {
      const { layer, offset } = placed.inode.content;
      for (let done = 0; done < placed.size;) {
        const limit = done < wholeBytes ? wholeBytes - done : placed.size - done;
        const piece = await content.read(layer, offset + done, limit);
        if (done < wholeBytes) await blocks.put(blockAt + done, piece);
        else await metadata.put(tailAt + done - wholeBytes, piece);
        done += piece.length;
      }
    } else {
      const bytes = contentOf(placed, layout);
      assert(bytes.length === placed.size, "content has the size that was laid out");
      await blocks.put(blockAt, bytes.subarray(0, wholeBytes));
      await metadata.put(tailAt, bytes.subarray(wholeBytes));
    }
  }
  await metadata.flush();
  await blocks.flush();
}

/** Of a folder or a symlink. */
function contentOf({ folder, inode }: Placed, layout: Layout): Uint8Array {
  if (folder === null) return new Uint8Array(Buffer.from(inode.target, "latin1"));
  const { node, parent } = folder;
  return encodeFolder(
    namesOf(node).map((name) => {
      const named: Node = name === "." ? node : name === ".." ? parent : node.children.get(name)!;
      return { name, nid: nidOf(layout.byInode.get(named.inode)!), type: named.inode.type };
    }),
  );
}

/**
 * The base: one read-only erofs file, uncompressed, because a guest under TCG pays more for decompression than the host
 * for disk, and pages are shared by all machines of the image. Owners, modes, times, hard links and xattrs stay.
 */
import { open } from "node:fs/promises";
import { GodwitError } from "../../contract/errors.ts";
import { runTool } from "./run-tool.ts";
import { hexOf } from "./source.ts";

const MKFS_MS_MAX = 15 * 60_000;
/** Where the superblock stands and how it begins (erofs on-disk format). */
const SUPERBLOCK_OFFSET = 1_024;
const SUPERBLOCK_MAGIC = 0xe0f5e1e2;

export async function makeBase(
  ref: string,
  digest: string,
  root: string,
  file: string,
  folders: { run: string; temp: string },
): Promise<number> {
  const result = await runTool({
    argv: ["mkfs.erofs", "--quiet", "-U", uuidOf(digest), file, root],
    homeFolder: folders.run,
    tempFolder: folders.temp,
    timeoutMs: MKFS_MS_MAX,
  });
  if (result.status !== 0) throw baseFailed(ref, result.killed ?? result.stderr.split("\n").at(-1) ?? "");
  const handle = await open(file, "r+");
  try {
    const head = new DataView(new ArrayBuffer(4));
    await handle.read(head, 0, 4, SUPERBLOCK_OFFSET);
    if (head.getUint32(0, true) !== SUPERBLOCK_MAGIC) throw baseFailed(ref, "the file has no superblock");
    await handle.sync(); // before it gets its name: nothing half made, power cuts included
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

/** The same image gives the same file system id on every host. */
function uuidOf(digest: string): string {
  return hexOf(digest).slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function baseFailed(ref: string, why: string): GodwitError {
  return new GodwitError("image.base_failed", `Cannot make the base of image ${ref}: mkfs.erofs: ${why}`, {
    fault: "us",
    retryable: true,
    hint: "try again; the worker's log has all that mkfs.erofs said",
  });
}

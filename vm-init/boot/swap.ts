/**
 * Step swap: a swap file on the machine's own layer. Its blocks are reserved and not written, so that it costs nothing
 * until it is used; its one page of header is what mkswap(8) would write.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import type { OverlayRoot } from "./overlay-root.ts";
import { BootError, messageOf, SystemError } from "../system/error.ts";
import { libc } from "../system/libc.ts";
import { swapOn } from "../system/mount.ts";
import { skip, type Skipped } from "./life.ts";

const PAGE_BYTES = 4_096;
const MB = 1_048_576;
const SIGNATURE = "SWAPSPACE2";
/** Of struct swap_header (linux/swap.h): after the boot bits. */
const VERSION_OFFSET = 1_024;

/** Returns the file, by a path that stays good after the switch of the root. */
export function addSwap(swapMb: number | undefined, root: OverlayRoot | undefined): string | Skipped {
  if (swapMb === undefined) return skip("the run configuration has no swap");
  if (root === undefined) return skip("a container's swap is its host's");
  // No path leads to the layer any more, but its open folder does.
  const file = `/proc/self/fd/${root.layerFd}/swap`;
  try {
    makeSwapFile(file, swapMb * MB);
    swapOn(file);
    return file;
  } catch (error) {
    throw new BootError(`Cannot add ${swapMb} MB of swap on the machine's layer: ${messageOf(error)}`);
  }
}

function makeSwapFile(file: string, bytes: number): void {
  const fd = openSync(file, "w", 0o600);
  try {
    // It answers with the error's number instead of setting errno.
    const failed = libc.posix_fallocate(fd, 0n, BigInt(bytes));
    if (failed !== 0) throw new SystemError(`posix_fallocate of ${bytes} bytes`, failed);
    writeSync(fd, swapHeader(bytes, crypto.getRandomValues(new Uint8Array(16))));
  } finally {
    closeSync(fd);
  }
}

export function swapHeader(bytes: number, uuid: Uint8Array): Uint8Array {
  const header = new Uint8Array(PAGE_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(VERSION_OFFSET, 1, true);
  view.setUint32(VERSION_OFFSET + 4, Math.floor(bytes / PAGE_BYTES) - 1, true);
  header.set(uuid, VERSION_OFFSET + 12);
  header.set(Buffer.from(SIGNATURE), PAGE_BYTES - SIGNATURE.length);
  return header;
}

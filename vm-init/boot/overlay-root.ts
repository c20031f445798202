/** Step overlay-root: the image's read-only drive below, the machine's own drive above. */
import { closeSync, mkdirSync, openSync, readSync } from "node:fs";
import { DRIVES } from "../../control/contract/guest-limits.ts";
import { BootError } from "../system/error.ts";
import { mount, MountFlag } from "../system/mount.ts";

const HEAD_BYTES = 2_048;
/** Where the superblock's magic number stands, and what it is: erofs_fs.h, ext4.h. */
const EROFS = { offset: 1_024, magic: 0xe0f5e1e2 };
const EXT4 = { offset: 1_024 + 56, magic: 0xef53 };

/** The filesystem of a drive, told by its first 2 KiB. */
export function filesystemOf(head: Uint8Array): "erofs" | "ext4" | null {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(EROFS.offset, true) === EROFS.magic) return "erofs";
  if (view.getUint16(EXT4.offset, true) === EXT4.magic) return "ext4";
  return null;
}

export interface OverlayRoot {
  readonly folder: string;
  /** A hold on the layer's mount, which no path reaches after the switch; for the last remount. */
  readonly layerFd: number;
}

export function mountOverlayRoot(): OverlayRoot {
  for (const folder of ["/image", "/layer", "/newroot"]) mkdirSync(folder, { recursive: true });
  mountDrive(DRIVES.image, "/image", MountFlag.readOnly);
  mountDrive(DRIVES.layer, "/layer", MountFlag.noAtime);
  mkdirSync("/layer/upper", { recursive: true });
  mkdirSync("/layer/work", { recursive: true });
  mount({
    source: "overlay",
    target: "/newroot",
    type: "overlay",
    options: "lowerdir=/image,upperdir=/layer/upper,workdir=/layer/work",
  });
  return { folder: "/newroot", layerFd: openSync("/layer", "r") };
}

function mountDrive(device: string, target: string, flags: number): void {
  const head = new Uint8Array(HEAD_BYTES);
  const fd = openSync(device, "r");
  try {
    readSync(fd, head, 0, HEAD_BYTES, 0);
  } finally {
    closeSync(fd);
  }
  const type = filesystemOf(head);
  if (type === null) {
    throw new BootError(`Cannot mount ${device} on ${target}: it holds neither erofs nor ext4`);
  }
  mount({ source: device, target, type, flags });
}

/** ioctl_fifreeze(2), on any open file of the file system. */
import { check, libc } from "./libc.ts";

/** linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int). */
const FIFREEZE = 0xc0045877n;
const FITHAW = 0xc0045878n;

export function freezeFilesystem(fd: number): void {
  check(libc.ioctl(fd, FIFREEZE, null), "freeze of a file system (FIFREEZE)");
}

export function thawFilesystem(fd: number): void {
  check(libc.ioctl(fd, FITHAW, null), "thaw of a file system (FITHAW)");
}

/** Pseudo-terminals (pts(4)): vm-init holds the master, a command the other end. */
import { chownSync, openSync, statSync } from "node:fs";
import { check, libc } from "./libc.ts";

/** Of the devpts mount itself: /dev/ptmx may be another one's, or not be there. */
const MULTIPLEXER = "/dev/pts/ptmx";
const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
/** asm-generic/ioctls.h. */
const TIOCSPTLCK = 0x40045431n;
const TIOCGPTN = 0x80045430n;
const TIOCSWINSZ = 0x5414n;

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** The master's descriptor, non-blocking, and the path of the other end, which belongs to `uid`. */
export function openTerminal(size: Size, uid: number): { master: number; path: string } {
  const master = openSync(MULTIPLEXER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  try {
    check(libc.ioctl(master, TIOCSPTLCK, Int32Array.of(0)), "unlock of a terminal");
    const number = new Int32Array(1);
    check(libc.ioctl(master, TIOCGPTN, number), "number of a terminal");
    const path = `/dev/pts/${number[0]}`;
    chownSync(path, uid, statSync(path).gid);
    resizeTerminal(master, size);
    return { master, path };
  } catch (error) {
    libc.close(master);
    throw error;
  }
}

/** The programs in it hear of it by SIGWINCH. */
export function resizeTerminal(master: number, { columns, rows }: Size): void {
  check(libc.ioctl(master, TIOCSWINSZ, Uint16Array.of(rows, columns, 0, 0)), "resize of a terminal");
}

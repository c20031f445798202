/**
 * Writes to a pipe or terminal whose reader may be slow, without a thread that waits: a machine with one processor has
 * hardly any to spare. The descriptor must be non-blocking.
 */
import { constants } from "node:os";
import { errno, libc } from "./libc.ts";

const POLL_FIRST_MS = 1;
const POLL_MS_MAX = 50;

/** False where the reader is gone; also once `isOver` says so, which is asked between tries. */
export async function writeAll(fd: number, bytes: Uint8Array, isOver: () => boolean): Promise<boolean> {
  let rest = bytes;
  let pollMs = POLL_FIRST_MS;
  while (rest.length > 0) {
    if (isOver()) return false;
    const count = Number(libc.write(fd, rest, BigInt(rest.length)));
    if (count > 0) {
      rest = rest.subarray(count);
      pollMs = POLL_FIRST_MS;
    } else if (count < 0 && errno() !== constants.errno.EAGAIN) {
      return false;
    } else {
      await Bun.sleep(pollMs);
      pollMs = Math.min(pollMs * 2, POLL_MS_MAX);
    }
  }
  return true;
}

const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** For an end that is this process's alone: the flag belongs to the open file, not to the descriptor. */
export function makeNonBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, O_NONBLOCK);
}

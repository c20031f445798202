/**
 * pidfd_open(2): a descriptor of one process, whoever later gets its pid; it is readable once the process has ended. Bun's
 * event loop takes no descriptor of that kind, so all are asked in one call of poll(2): 43 microseconds for a hundred, where
 * a look at /proc for each took 5,000.
 */
import { libc } from "./libc.ts";

/** The same number on every architecture (pidfd_open is in glibc from 2.36 only). */
const SYS_PIDFD_OPEN = 434n;
const POLLIN = 1;
/** Fields of `struct pollfd`: fd, then events and revents of 16 bits each. */
const INTS_A_POLLFD = 2;
const REVENTS_SHIFT = 16;

const calls = load();

function load() {
  try {
    return libc();
  } catch {
    return null; // no glibc here: whoever asks looks at /proc instead
  }
}

/** To be closed. Null where there is none: the process is gone, or this host has no pidfd, or no descriptor left. */
export function openPidfd(pid: number): number | null {
  const fd = Number(calls?.syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n) ?? -1);
  return fd < 0 ? null : fd;
}

/** Descriptors that are asked together. */
export class PidfdSet {
  readonly #polled: Int32Array;

  constructor(fds: readonly number[]) {
    this.#polled = new Int32Array(fds.flatMap((fd) => [fd, POLLIN]));
  }

  /** Positions of those whose process has ended. Does not wait. */
  ended(): number[] {
    const count = this.#polled.length / INTS_A_POLLFD;
    // None, or interrupted: asked again at the next look.
    if (count === 0 || (calls?.poll(this.#polled, BigInt(count), 0) ?? 0) <= 0) return [];
    return Array.from({ length: count }, (_, at) => at)
      .filter((at) => this.#polled[at * INTS_A_POLLFD + 1]! >>> REVENTS_SHIFT !== 0);
  }
}

/** Keeps PID 1 small while it carries much: the engine would let what is left behind grow to tens of megabytes first. */

const BYTES_BETWEEN_COLLECTIONS = 524_288;
let carried = 0;

/** To be told of all that goes through. A collection takes a few milliseconds, which is little beside a megabyte. */
export function collectNowAndThen(bytes: number): void {
  carried += bytes;
  if (carried < BYTES_BETWEEN_COLLECTIONS) return;
  carried = 0;
  Bun.gc(true);
}

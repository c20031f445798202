/** A lock that builders of one folder hold in turn: flock(2), so that a killed holder lets go by itself. */
import { dlopen, FFIType } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { GodwitError } from "../../control/contract/errors.ts";

const LOCK_EXCLUSIVE_NOW = 2 | 4;
const LOCK_POLL_MS = 100;
export const LOCK_WAIT_MS = 300_000;

export async function withFileLock<T>(
  file: string,
  work: () => Promise<T>,
  waitMs = LOCK_WAIT_MS,
): Promise<T> {
  const libc = dlopen("libc.so.6", { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } });
  const fd = openSync(file, "a", 0o600);
  try {
    const deadline = performance.now() + waitMs;
    while (libc.symbols.flock(fd, LOCK_EXCLUSIVE_NOW) !== 0) {
      if (performance.now() > deadline) {
        throw new GodwitError(
          "images.locked",
          `Cannot get the lock ${file} within ${waitMs} ms: another build holds it`,
          {
            fault: "us",
            retryable: true,
            hint: `see who: fuser ${file}`,
          },
        );
      }
      await Bun.sleep(LOCK_POLL_MS);
    }
    return await work();
  } finally {
    closeSync(fd);
    libc.close();
  }
}

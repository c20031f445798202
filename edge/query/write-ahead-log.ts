/** Waiting for a write-ahead log to begin anew, seen from outside (https://www.sqlite.org/fileformat2.html#the_write_ahead_log). */
import { closeSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { pause } from "../replica/pause.ts";

const LOOK_INTERVAL_MS = 10;
/** SQLite itself lets a log grow to about 4 MB. */
const SMALL_BYTES = 16 * 1_048_576;
/** A log that was not written for so long does not grow. */
const QUIET_MS = 1_000;
const SALT_AT = 16;
const SALT_BYTES = 8;

/** A number that changes as it begins anew; null where there is none. */
export function generationOfLog(database: string): string | null {
  const salt = Buffer.alloc(SALT_BYTES);
  try {
    const file = openSync(`${realpathSync(database)}-wal`, "r");
    try {
      return readSync(file, salt, 0, SALT_BYTES, SALT_AT) === SALT_BYTES ? salt.toString("hex") : null;
    } finally {
      closeSync(file);
    }
  } catch {
    return null;
  }
}

/** Resolves once it has begun anew, at once where it is small or nobody writes it, after `msMax` in any case. */
export async function logBegunAnew(database: string, msMax: number): Promise<void> {
  const before = generationOfLog(database);
  const endMs = performance.now() + msMax;
  while (performance.now() < endMs && grows(database) && generationOfLog(database) === before) {
    await pause(LOOK_INTERVAL_MS);
  }
}

function grows(database: string): boolean {
  try {
    const { size, mtimeMs } = statSync(`${realpathSync(database)}-wal`);
    return size > SMALL_BYTES && Date.now() - mtimeMs < QUIET_MS;
  } catch {
    return false;
  }
}

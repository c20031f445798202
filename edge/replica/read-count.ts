/** How many entries to ask for: as many as make up about READ_BYTES, by what the last read brought. Pure. */
import type { EntriesOf } from "./stream-commands.ts";

/** Of each stream in one read. */
export const READ_COUNT_MAX = 256;
export const READ_COUNT_MIN = 16;
export const READ_BYTES = 8 * 1_024 * 1_024;

export function nextReadCount(found: readonly EntriesOf<{ readonly length: number }>[]): number {
  let bytes = 0, entries = 0;
  for (const each of found) {
    entries += each.entries.length;
    for (const { fields } of each.entries) for (const field of fields) bytes += field.length;
  }
  if (entries === 0) return READ_COUNT_MAX;
  return Math.max(READ_COUNT_MIN, Math.min(READ_COUNT_MAX, Math.floor(READ_BYTES / (bytes / entries + 1))));
}

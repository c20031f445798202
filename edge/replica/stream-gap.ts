/** Whether entries behind our position may have been lost. Pure. */

/** The position before any entry. */
export const START = "0-0";

export interface StreamInfo {
  /** Null while the stream is empty. */
  readonly firstId: string | null;
  readonly lastId: string;
  /** Entries that were there once and are no longer. */
  readonly removed: number;
}

/**
 * Our position is the id of an entry that we have read. If the stream begins behind it, entries between may have been
 * trimmed; if it ends before it, or is not there, Redis was emptied or restored. A new edge that meets a trimmed stream
 * has missed its beginning, but reading from the start is what it does anyway.
 *
 * An entry that was trimmed before the read which should have brought it leaves no hole that a later position shows. But a
 * trim takes the oldest first: while the stream reaches back to the anchor, nothing behind that was taken before it was
 * read. Where it does not, the trim may have come after our reads; that cannot be told, and counts as a gap.
 *
 * @param info null where the stream does not exist
 * @param anchor our position at the look before; after START, behind the first read. @default position
 */
export function isGap(position: string, info: StreamInfo | null, anchor: string = position): boolean {
  if (position === START) return false;
  if (info === null) return true;
  if (compareIds(info.lastId, position) < 0) return true;
  const from = anchor !== START && compareIds(anchor, position) < 0 ? anchor : position;
  // One that is empty has lost all up to its last id.
  return info.firstId === null ? compareIds(info.lastId, from) > 0 : compareIds(info.firstId, from) > 0;
}

/** `MILLISECONDS-SEQUENCE`, compared as two numbers. */
export function compareIds(a: string, b: string): number {
  const [aMs = 0, aSeq = 0] = a.split("-").map(Number);
  const [bMs = 0, bSeq = 0] = b.split("-").map(Number);
  return aMs - bMs || aSeq - bSeq;
}

/**
 * From where on a stream is copied, so that the copy is one unbroken piece of the upstream's stream: pure.
 *
 * Entries keep their ids, so the copy's own end says how far it is, and no cursor is kept beside it. Whether the upstream
 * goes on from there is told by its newest entry that is not beyond that end: is it the very same entry, nothing is missing.
 * Where that cannot be shown, the copy is begun anew, so that replicas meet the gap which they would have met upstream.
 */
import type { EntryOf } from "../replica/stream-commands.ts";

export type Entry = EntryOf<Buffer>;

/** How a stream ends in the regional Redis. */
export interface CopyEnd {
  /** Null where the stream is there and has no entries. */
  readonly last: Entry | null;
  /** No lower id can be appended. */
  readonly lastId: string;
}

export interface Sight {
  /** Null where there is no copy. */
  readonly copy: CopyEnd | null;
  /** The upstream's newest entry that is not beyond the copy's last one; null where it has none. */
  readonly upstream: Entry | null;
  /** What the copy has under the id of `upstream`. */
  readonly twin: Entry | null;
  /** The upstream has any entries. */
  readonly upstreamHasEntries: boolean;
}

export type BeginReason =
  /** There is no copy: a new stream, or a regional Redis that lost its data. */
  | "no_copy"
  /** Its last entries were removed by somebody, and their ids cannot be used again. */
  | "copy_cut"
  /** The upstream begins behind our end: what lay between is gone, or it was emptied and filled again. */
  | "trimmed"
  /** The upstream has entries up to our end that the copy has not: it lost its tail, and others took the place. */
  | "diverged";

export type Place =
  /** @property isAnchored the upstream has our last entry; otherwise it lost that, and entries could come before it */
  | { readonly kind: "follow"; readonly after: string; readonly isAnchored: boolean }
  | { readonly kind: "begin"; readonly why: BeginReason };

export function choosePlace({ copy, upstream, twin, upstreamHasEntries }: Sight): Place {
  if (copy === null) return { kind: "begin", why: "no_copy" };
  const { last } = copy;
  if (last === null || last.id !== copy.lastId) return { kind: "begin", why: "copy_cut" };
  const after = last.id;
  if (upstream === null) {
    // An emptied upstream leaves the copy as it is until it says something: better old rows than none.
    return upstreamHasEntries
      ? { kind: "begin", why: "trimmed" }
      : { kind: "follow", after, isAnchored: false };
  }
  if (isSameEntry(upstream, last)) return { kind: "follow", after, isAnchored: true };
  // What the upstream lost beyond it stays in the copy: it was published, and its owners publish it again.
  if (twin !== null && isSameEntry(upstream, twin)) return { kind: "follow", after, isAnchored: false };
  return { kind: "begin", why: "diverged" };
}

/** After a loss another entry may get the same id. */
export function isSameEntry(a: Entry, b: Entry): boolean {
  return a.id === b.id && a.fields.length === b.fields.length &&
    a.fields.every((field, i) => field.equals(b.fields[i]!));
}

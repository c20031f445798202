/**
 * Does the stream alone still say all that an owner has published? Redis may have been emptied, may have come back from a
 * copy without its last entries (a failover, an old append-only file), or may have been trimmed. Then the owner publishes
 * all its rows again, so that a replica that begins with the stream's first entry ends with exactly the owner's rows.
 *
 * Pure. That entries vanish one by one from the middle is not looked for: nothing that Redis does by itself does that.
 */
import { assert } from "../contract/errors.ts";

export type RepublishReason = "emptied" | "tail_lost" | "trimmed";

export interface StreamFacts {
  /** Null in a stream without entries. */
  readonly firstId: string | null;
  readonly lastGeneratedId: string;
}

export interface Mark {
  readonly id: string;
  /** Whether the stream has an entry of this id, and of this owner: after a loss another may get the same id. */
  readonly isThere: boolean;
}

export interface Marks {
  /** The first entry of the last publication of all rows; null where nothing of it was appended yet. */
  readonly fullFrom: Mark | null;
  /** Entries that this owner was told were appended, the newest as far as each of its processes knows. */
  readonly last: readonly Mark[];
}

/** @param stream null where there is none */
export function mustRepublish(marks: Marks, stream: StreamFacts | null): RepublishReason | null {
  const { fullFrom, last } = marks;
  const all = fullFrom === null ? last : [fullFrom, ...last];
  if (stream === null || stream.firstId === null) return all.length > 0 ? "emptied" : null;
  const firstId = stream.firstId;
  const isLost = ({ id, isThere }: Mark) => !isThere && compareIds(id, firstId) >= 0;
  if (all.some((mark) => compareIds(mark.id, stream.lastGeneratedId) > 0 || isLost(mark))) return "tail_lost";
  return fullFrom !== null && compareIds(firstId, fullFrom.id) > 0 ? "trimmed" : null;
}

/** Below, at or above 0, as `a` stands before, at or behind `b`. Ids are `MILLISECONDS-NUMBER`. */
export function compareIds(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  return left.ms !== right.ms ? left.ms - right.ms : left.number - right.number;
}

export function newerId(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  return compareIds(a, b) >= 0 ? a : b;
}

/** The lowest id that Redis would still take after `id`. */
export function nextId(id: string): string {
  const { ms, number } = partsOf(id);
  return `${ms}-${number + 1}`;
}

function partsOf(id: string): { ms: number; number: number } {
  const dash = id.indexOf("-");
  const [ms, number] = [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
  assert(dash > 0 && Number.isSafeInteger(ms) && Number.isSafeInteger(number), `${id} is no stream id`);
  return { ms, number };
}

/**
 * The digest of owner `api`: it must say exactly what stands before it in the stream. So its transaction holds publishing:
 * whatever another process appended is either noted in `published`, or its lines are back in the outbox (its transaction
 * failed), and those are published first. Lines that commit later are appended later.
 */
import { EVENT_SCHEMA, GLOBAL_STREAM, type StateDigest } from "../contract/events.ts";
import { TABLE_NAMES, TABLES } from "../contract/rows.ts";
import type { Sql } from "../store/database.ts";
import { holdPublishing, newestLine, newestVersion } from "../store/outbox.ts";
import { forgetTombstones, lockPublishState, publishState, recordDigest } from "../store/published.ts";
import { OWNER } from "./announce.ts";
import { nextId } from "./must-republish.ts";
import { publishBatch, type StreamEnd } from "./publish-batch.ts";
import { withEmptyTables } from "./published-sums.ts";
import { streamFacts } from "./stream-watch.ts";
import { appendDigest } from "./stream-writer.ts";

/** Batches of waiting lines that are published for one digest; with more the digest waits for the next time. */
const BATCHES_MAX = 20;
/** A tombstone outlives every replica and snapshot that may still have its row. */
export const TOMBSTONE_KEEP_MS = 7 * 86_400_000;
const TOMBSTONES_FORGOTTEN_MAX = 1_000;

const globalTables = TABLE_NAMES.filter((table) => TABLES[table].scope === "global");

export interface DigestOutcome {
  /** Events that were published first. */
  readonly events: number;
  /** Null where no digest was due, or none could be given yet. */
  readonly id: string | null;
}

/**
 * @param wish a digest where the last one is older than so many milliseconds; or the one that ends a republication of all
 * rows, of which every page was appended
 */
export async function publishDigest(
  tx: Sql,
  end: StreamEnd,
  wish: { readonly olderThanMs: number } | { readonly endsRepublication: number },
  nowMs: number,
): Promise<DigestOutcome> {
  await holdPublishing(tx);
  const before = await publishState(tx);
  const ends = "endsRepublication" in wish ? wish.endsRepublication : null;
  const isWanted = "endsRepublication" in wish
    ? before.republication !== null && before.republishNumber === wish.endsRepublication
    : before.republication === null && (before.digestAgeMs ?? Infinity) >= wish.olderThanMs;
  if (!isWanted) return { events: 0, id: null };

  let events = 0;
  const upTo = await newestLine(tx);
  for (let batches = 0; upTo !== null; batches++) {
    if (batches === BATCHES_MAX) return { events, id: null };
    const batch = await publishBatch(tx, end, upTo);
    if (batch === null) break;
    events += batch.events;
  }

  const state = await lockPublishState(tx);
  // A republication may have begun meanwhile, which holds no more than this row: until it is through, no digest is true.
  if (state.republishNumber !== before.republishNumber) return { events, id: null };
  const digest: StateDigest = {
    schema: EVENT_SCHEMA,
    owner: OWNER,
    tables: withEmptyTables(state.sums, globalTables),
    newest: await newestVersion(tx),
    floor_epoch: Math.max(0, state.floorEpoch),
    published_ms: nowMs,
  };
  // Under the very next id: a digest that Redis takes late, after other entries, would be wrong there, and is refused.
  const stream = await streamFacts(end.redis, GLOBAL_STREAM);
  if (end.isStale()) return { events, id: null };
  const id = await appendDigest(
    end.redis,
    GLOBAL_STREAM,
    digest,
    end.key,
    stream === null ? "*" : nextId(stream.lastGeneratedId),
  );
  const fullFromId = ends === null ? null : state.republication?.fromId ?? id;
  await recordDigest(tx, id, fullFromId);
  await forgetTombstones(tx, nowMs - TOMBSTONE_KEEP_MS, TOMBSTONES_FORGOTTEN_MAX);
  return { events, id };
}

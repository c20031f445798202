/**
 * Appends to the state streams: many events in one entry, because an entry is signed, sent, synced to disk and applied as
 * one. Used by the API's publisher and by each worker's, which differ only in where their outbox lies. An event may be
 * appended twice (a crash between append and acknowledgement): versions make that harmless.
 */
import type { Redis } from "ioredis";
import { assert } from "../contract/errors.ts";
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  EVENT_BYTES_MAX,
  STATE_STREAM_ENTRIES_MAX,
  type StateDigest,
  StateEvent,
} from "../contract/events.ts";
import type { SigningKey } from "../contract/signing.ts";
import { batchFields, digestFields } from "../contract/stream-entry.ts";

/** Ids of the first and the last entry that a call appended. */
export interface Appended {
  readonly firstId: string;
  readonly lastId: string;
}

/**
 * Appends in order; rejects when any append failed, and then a prefix of `events` may be in the stream.
 *
 * @param events one or more, all of one owner
 * @param key null: unsigned
 */
export async function appendEvents(
  redis: Redis,
  stream: string,
  events: readonly StateEvent[],
  key: SigningKey | null,
): Promise<Appended> {
  const owner = events[0]?.owner;
  assert(owner !== undefined && events.every((event) => event.owner === owner), "a batch is of one owner");
  const pipeline = redis.pipeline();
  for (const batch of batchesOf(events)) {
    add(pipeline, stream, "*", batchFields(stream, owner, batch, key));
  }
  const ids: string[] = [];
  for (const [error, id] of await pipeline.exec() ?? []) {
    if (error !== null) throw error;
    ids.push(String(id));
  }
  assert(ids.length > 0, `Redis said nothing of what was appended to ${stream}`);
  return { firstId: ids[0]!, lastId: ids.at(-1)! };
}

/**
 * @param id `*`, or the very next one of the stream where the append must fail if anything came in between
 * @returns the entry's id
 */
export async function appendDigest(
  redis: Redis,
  stream: string,
  digest: StateDigest,
  key: SigningKey | null,
  id = "*",
): Promise<string> {
  const pipeline = redis.pipeline();
  add(pipeline, stream, id, digestFields(stream, digest, key));
  const [error, answer] = (await pipeline.exec())?.[0] ?? [new Error(`${stream}: no answer`), null];
  if (error !== null) throw error;
  return String(answer);
}

/** In order, each within the bounds of an entry. */
export function batchesOf(events: readonly StateEvent[]): StateEvent[][] {
  const batches: StateEvent[][] = [];
  let batch: StateEvent[] = [];
  let bytes = 0;
  for (const given of events) {
    const event = StateEvent.parse(given);
    const length = Buffer.byteLength(JSON.stringify(event));
    assert(length <= EVENT_BYTES_MAX, `event ${event.table} ${event.key} is oversize`);
    // Brackets around all, and a comma or bracket after each.
    if (batch.length === BATCH_EVENTS_MAX || bytes + length + 2 > BATCH_BYTES_MAX) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(event);
    bytes += length + 1;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

function add(pipeline: ReturnType<Redis["pipeline"]>, stream: string, id: string, fields: string[]): void {
  pipeline.xadd(stream, "MAXLEN", "~", STATE_STREAM_ENTRIES_MAX, id, ...fields);
}

/**
 * Appends state events to their Redis stream. Used by the API's publisher and by each worker's, which differ only in
 * where their outbox lies. An event may be appended twice (a crash between append and acknowledgement): versions make
 * that harmless.
 */
import type { Redis } from "ioredis";
import { EVENT_BYTES_MAX, STATE_STREAM_ENTRIES_MAX, StateEvent } from "../contract/events.ts";
import { batchFields } from "../contract/stream-entry.ts";
import { assert } from "../contract/errors.ts";

/** Events go out in pipelines of at most this many. */
export const APPEND_BATCH_MAX = 500;

/** Appends in order; rejects when any append failed, and then a prefix of `events` may be in the stream. */
export async function appendEvents(
  redis: Redis,
  stream: string,
  events: readonly StateEvent[],
): Promise<void> {
  for (let start = 0; start < events.length; start += APPEND_BATCH_MAX) {
    const pipeline = redis.pipeline();
    for (const event of events.slice(start, start + APPEND_BATCH_MAX)) {
      const json = JSON.stringify(StateEvent.parse(event));
      assert(Buffer.byteLength(json) <= EVENT_BYTES_MAX, `event ${event.table} ${event.key} is oversize`);
      pipeline.xadd(
        stream,
        "MAXLEN",
        "~",
        STATE_STREAM_ENTRIES_MAX,
        "*",
        ...batchFields(stream, event.owner, [event], null),
      );
    }
    const answers = await pipeline.exec();
    for (const [error] of answers ?? []) if (error !== null) throw error;
  }
}

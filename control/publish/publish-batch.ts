/** Takes lines of the outbox to the global stream, in the transaction that deletes them and notes what was published. */
import type { Redis } from "ioredis";
import { BATCH_EVENTS_MAX, GLOBAL_STREAM } from "../contract/events.ts";
import type { SigningKey } from "../contract/signing.ts";
import type { Sql } from "../store/database.ts";
import { deleteEvents, takeEvents } from "../store/outbox.ts";
import { recordPublished } from "../store/published.ts";
import { appendEvents } from "./stream-writer.ts";

export interface StreamEnd {
  readonly redis: Redis;
  /** Null: unsigned. */
  readonly key: SigningKey | null;
  /** True while the connection is a new one that nobody has looked through: nothing may be appended (`StreamWatch`). */
  readonly isStale: () => boolean;
}

export interface PublishedBatch {
  readonly events: number;
  readonly lastId: string;
  /** Of the last publication of all rows that had begun. */
  readonly republishNumber: number;
}

/**
 * The transaction must have joined or must hold publishing.
 *
 * @param upTo the last line to take, null for any
 * @returns null where no line is free, or the connection is stale
 */
export async function publishBatch(
  tx: Sql,
  end: StreamEnd,
  upTo: string | null = null,
): Promise<PublishedBatch | null> {
  const lines = await takeEvents(tx, BATCH_EVENTS_MAX, upTo);
  if (lines.length === 0 || end.isStale()) return null;
  const events = lines.map((line) => line.event);
  const appended = await appendEvents(end.redis, GLOBAL_STREAM, events, end.key);
  const republishNumber = await recordPublished(tx, events, appended);
  await deleteEvents(tx, lines.map((line) => line.id));
  return { events: events.length, lastId: appended.lastId, republishNumber };
}

/**
 * Publishes all rows of owner `api` again, each with the version that it has: page by page, each page a transaction of its
 * own, so that changes go on between them and a process that dies is taken over from. The digest after the last page ends
 * it; there is none before, because none would be true. A page may be appended after a newer event of one of its rows:
 * versions make that harmless.
 */
import { BATCH_EVENTS_MAX, EVENT_SCHEMA, GLOBAL_STREAM, type StateEvent } from "../contract/events.ts";
import type { Sql } from "../store/database.ts";
import {
  advanceRepublication,
  pageOfPublished,
  type PublishedRow,
  publishState,
  tryRepublishing,
} from "../store/published.ts";
import { OWNER } from "./announce.ts";
import type { StreamEnd } from "./publish-batch.ts";
import { appendEvents } from "./stream-writer.ts";

export type RepublishStep =
  | { readonly kind: "page"; readonly rows: number }
  /** The digest that ends it may be published. */
  | { readonly kind: "all_appended"; readonly number: number }
  /** None is under way, or another process is at it, or the connection is stale. */
  | { readonly kind: "nothing" };

export async function republishPage(tx: Sql, end: StreamEnd): Promise<RepublishStep> {
  if (!await tryRepublishing(tx)) return { kind: "nothing" };
  const { republication, republishNumber: number } = await publishState(tx);
  if (republication === null) return { kind: "nothing" };
  const rows = await pageOfPublished(tx, republication, BATCH_EVENTS_MAX);
  const last = rows.at(-1);
  if (last === undefined) return { kind: "all_appended", number };
  if (end.isStale()) return { kind: "nothing" };
  const appended = await appendEvents(end.redis, GLOBAL_STREAM, rows.map(eventOf), end.key);
  await advanceRepublication(tx, number, last, appended);
  return { kind: "page", rows: rows.length };
}

function eventOf({ table, key, version, publishedMs, content }: PublishedRow): StateEvent {
  return {
    schema: EVENT_SCHEMA,
    owner: OWNER,
    table,
    key,
    version,
    deleted: content === null,
    row: content,
    published_ms: publishedMs,
  };
}

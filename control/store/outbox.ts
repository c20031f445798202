/** Events that are durable here and not yet in Redis. */
import type { StateEvent, Version } from "../contract/events.ts";
import { json, type Sql } from "./database.ts";

/** Postgres channel on which a commit with new events wakes the publishers. */
export const OUTBOX_CHANNEL = "godwit_outbox";

/** "god" in ASCII: the first half of this file's advisory locks. */
const LOCKS = 0x676f64;
const EPOCH_LOCK = 1;
const PUBLISH_LOCK = 2;

/**
 * Holds the key until the transaction ends. Versions of one key are given out under this lock, so that their order is
 * the order of commits: who comes second reads what the first one committed, and gets the higher number. The epoch stays
 * what it is as long: see `holdEpoch`.
 */
export async function lockKey(tx: Sql, table: string, key: string): Promise<void> {
  await tx`SELECT pg_advisory_xact_lock_shared(${LOCKS}::integer, ${EPOCH_LOCK}::integer)`;
  await tx`SELECT pg_advisory_xact_lock(hashtextextended(${`${table}/${key}`}, 0))`;
}

/** Until the transaction ends nobody gives out a version, and all that were given out are committed or gone. */
export async function holdEpoch(tx: Sql): Promise<void> {
  await tx`SELECT pg_advisory_xact_lock(${LOCKS}::integer, ${EPOCH_LOCK}::integer)`;
}

/** Many may publish beside each other until their transactions end, and nobody who holds publishing. */
export async function joinPublishing(tx: Sql): Promise<void> {
  await tx`SELECT pg_advisory_xact_lock_shared(${LOCKS}::integer, ${PUBLISH_LOCK}::integer)`;
}

/** Until the transaction ends nobody else publishes, and all that was taken for publishing is committed or back. */
export async function holdPublishing(tx: Sql): Promise<void> {
  await tx`SELECT pg_advisory_xact_lock(${LOCKS}::integer, ${PUBLISH_LOCK}::integer)`;
}

export async function nextVersion(tx: Sql): Promise<Version> {
  const [row] = await tx`SELECT epoch, nextval('publish_seq') AS seq FROM publish_epoch`;
  return { epoch: Number(row.epoch), seq: Number(row.seq) };
}

/** At least as high as each version that was given out, and below those to come. */
export async function newestVersion(sql: Sql): Promise<Version> {
  const [row] =
    await sql`SELECT epoch, (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM publish_seq) AS seq
    FROM publish_epoch`;
  return { epoch: Number(row.epoch), seq: Number(row.seq) };
}

export async function insertEvent(tx: Sql, event: StateEvent): Promise<void> {
  await tx`INSERT INTO outbox (event) VALUES (${json(event)}::text::jsonb)`;
  await tx`SELECT pg_notify(${OUTBOX_CHANNEL}, '')`;
}

export interface OutboxLine {
  readonly id: string;
  readonly event: StateEvent;
}

/** Oldest first; lines that another publisher holds are passed over. @param upTo the last line of interest */
export async function takeEvents(tx: Sql, limit: number, upTo: string | null = null): Promise<OutboxLine[]> {
  const rows = await tx`SELECT id, event FROM outbox WHERE (${upTo}::bigint IS NULL OR id <= ${upTo}::bigint)
    ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
  return rows.map((row: { id: string; event: StateEvent }) => ({ id: String(row.id), event: row.event }));
}

/** Null where nothing waits. */
export async function newestLine(sql: Sql): Promise<string | null> {
  const [row] = await sql`SELECT max(id) AS id FROM outbox`;
  return row.id === null ? null : String(row.id);
}

export async function deleteEvents(tx: Sql, ids: readonly string[]): Promise<void> {
  await tx`DELETE FROM outbox WHERE id = ANY(${tx.array([...ids], "BIGINT")})`;
}

export async function outboxDepth(sql: Sql): Promise<number> {
  const [row] = await sql`SELECT count(*)::integer AS depth FROM outbox`;
  return row.depth;
}

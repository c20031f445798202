/** Events that are durable here and not yet in Redis. */
import type { StateEvent, Version } from "../contract/events.ts";
import { json, type Sql } from "./database.ts";

/** Postgres channel on which a commit with new events wakes the publishers. */
export const OUTBOX_CHANNEL = "godwit_outbox";

/**
 * Holds the key until the transaction ends. Versions of one key are given out under this lock, so that their order is
 * the order of commits: who comes second reads what the first one committed, and gets the higher number.
 */
export async function lockKey(tx: Sql, table: string, key: string): Promise<void> {
  await tx`SELECT pg_advisory_xact_lock(hashtextextended(${`${table}/${key}`}, 0))`;
}

export async function nextVersion(tx: Sql): Promise<Version> {
  const [row] = await tx`SELECT epoch, nextval('publish_seq') AS seq FROM publish_epoch`;
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

/** Oldest first; lines that another publisher holds are passed over. */
export async function takeEvents(tx: Sql, limit: number): Promise<OutboxLine[]> {
  const rows = await tx`SELECT id, event FROM outbox ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
  return rows.map((row: { id: string; event: StateEvent }) => ({ id: String(row.id), event: row.event }));
}

export async function deleteEvents(tx: Sql, ids: readonly string[]): Promise<void> {
  await tx`DELETE FROM outbox WHERE id = ANY(${tx.array([...ids], "BIGINT")})`;
}

export async function outboxDepth(sql: Sql): Promise<number> {
  const [row] = await sql`SELECT count(*)::integer AS depth FROM outbox`;
  return row.depth;
}

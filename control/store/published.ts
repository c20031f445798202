/** What owner `api` has published, and where its stream stands. One row of state, whose lock puts publishers in line. */
import type { StateEvent, Version } from "../contract/events.ts";
import { newerId } from "../publish/must-republish.ts";
import { applyChanges, type KeyState, type TableSums } from "../publish/published-sums.ts";
import type { Appended } from "../publish/stream-writer.ts";
import { json, type Sql } from "./database.ts";

const REPUBLISH_LOCK_NAME = "publish/republish";

export interface Republication {
  /** Its first entry; null before there is one. */
  readonly fromId: string | null;
  /** The last row that it appended. */
  readonly table: string;
  readonly key: string;
}

export interface PublishState {
  readonly sums: TableSums;
  readonly floorEpoch: number;
  readonly lastId: string | null;
  readonly fullFromId: string | null;
  readonly republishNumber: number;
  /** Null where none is under way. */
  readonly republication: Republication | null;
  /** Null before the first one. */
  readonly digestAgeMs: number | null;
}

export async function publishState(sql: Sql): Promise<PublishState> {
  const [row] = await sql`SELECT *, extract(epoch FROM clock_timestamp() - digest_at) * 1000 AS digest_age_ms
    FROM publish_state`;
  return fromRow(row);
}

/** Until the transaction ends nobody else changes it. */
export async function lockPublishState(tx: Sql): Promise<PublishState> {
  const [row] = await tx`SELECT *, extract(epoch FROM clock_timestamp() - digest_at) * 1000 AS digest_age_ms
    FROM publish_state FOR UPDATE`;
  return fromRow(row);
}

/**
 * Notes what was appended, in the transaction that takes it out of the outbox.
 *
 * @returns the number of the last publication of all rows that had begun by then
 */
export async function recordPublished(
  tx: Sql,
  events: readonly StateEvent[],
  appended: Appended,
): Promise<number> {
  const state = await lockPublishState(tx);
  const keys = events.map(({ table, key }) => ({ table_name: table, key }));
  const known =
    await tx`SELECT p.table_name, p.key, p.epoch, p.seq, p.content IS NULL AS deleted FROM published p
    JOIN (SELECT DISTINCT table_name, key FROM jsonb_to_recordset(${json(keys)}::text::jsonb)
      AS k (table_name text, key text)) AS wanted USING (table_name, key)`;
  const { sums, kept } = applyChanges(state.sums, known.map(keyState), events);
  const rows = kept.map(({ table, key, version, published_ms, row }) => ({
    table_name: table,
    key,
    ...version,
    published_ms,
    content: row,
  }));
  await tx`INSERT INTO published (table_name, key, epoch, seq, published_ms, content)
    SELECT table_name, key, epoch, seq, published_ms, nullif(content, 'null'::jsonb)
    FROM jsonb_to_recordset(${json(rows)}::text::jsonb)
      AS e (table_name text, key text, epoch bigint, seq bigint, published_ms bigint, content jsonb)
    ON CONFLICT (table_name, key) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
      published_ms = excluded.published_ms, content = excluded.content`;
  await tx`UPDATE publish_state SET sums = ${json(sums)}::text::jsonb,
    last_id = ${newerId(state.lastId, appended.lastId)}`;
  return state.republishNumber;
}

export interface PublishedRow {
  readonly table: string;
  readonly key: string;
  readonly version: Version;
  readonly publishedMs: number;
  readonly content: Record<string, unknown> | null;
}

/** Tombstones too; in an order that stays. */
export async function pageOfPublished(
  sql: Sql,
  after: { table: string; key: string },
  limit: number,
): Promise<PublishedRow[]> {
  const rows =
    await sql`SELECT * FROM published WHERE (table_name, key) > (${after.table}::text, ${after.key}::text)
    ORDER BY table_name, key LIMIT ${limit}`;
  // deno-lint-ignore no-explicit-any -- a row as the driver gives it
  return rows.map((row: any) => ({
    table: row.table_name,
    key: row.key,
    version: { epoch: Number(row.epoch), seq: Number(row.seq) },
    publishedMs: Number(row.published_ms),
    content: row.content,
  }));
}

/** False where another process is at it. Ends with the transaction. */
export async function tryRepublishing(tx: Sql): Promise<boolean> {
  const [row] =
    await tx`SELECT pg_try_advisory_xact_lock(hashtextextended(${REPUBLISH_LOCK_NAME}, 0)) AS taken`;
  return row.taken;
}

/** Begins to publish everything anew, unless another process has begun since `number` was read. */
export async function beginRepublication(sql: Sql, number: number): Promise<void> {
  await sql`UPDATE publish_state SET republishing = true, republish_number = republish_number + 1,
    republish_from_id = NULL, republish_table = '', republish_key = '', last_id = NULL
    WHERE republish_number = ${number}`;
}

/** Notes how far the republication `number` is; of no effect where another one has begun. */
export async function advanceRepublication(
  tx: Sql,
  number: number,
  at: { table: string; key: string },
  appended: Appended,
): Promise<void> {
  const state = await lockPublishState(tx);
  if (state.republication === null || state.republishNumber !== number) return;
  await tx`UPDATE publish_state SET republish_table = ${at.table}, republish_key = ${at.key},
    republish_from_id = coalesce(republish_from_id, ${appended.firstId}),
    last_id = ${newerId(state.lastId, appended.lastId)}`;
}

/** @param fullFromId the first entry of the publication of all rows that this digest ends, null where it ends none */
export async function recordDigest(tx: Sql, id: string, fullFromId: string | null): Promise<void> {
  await tx`UPDATE publish_state SET last_id = ${id}, digest_at = clock_timestamp(),
    full_from_id = coalesce(${fullFromId}, full_from_id),
    republishing = republishing AND ${fullFromId}::text IS NULL`;
}

/** Gives all live rows, published or waiting, this epoch, and forgets tombstones: the floor takes their place. */
export async function raiseEpoch(tx: Sql, epoch: number): Promise<void> {
  await tx`UPDATE publish_epoch SET epoch = ${epoch}`;
  await tx`UPDATE outbox SET event = jsonb_set(event, '{version,epoch}', to_jsonb(${epoch}::bigint))`;
  await tx`DELETE FROM published WHERE content IS NULL`;
  await tx`UPDATE published SET epoch = ${epoch} WHERE epoch <> ${epoch}`;
}

export async function setFloor(tx: Sql, floorEpoch: number, sums: TableSums): Promise<void> {
  await tx`UPDATE publish_state SET floor_epoch = ${floorEpoch}, sums = ${json(sums)}::text::jsonb`;
}

export async function forgetTombstones(tx: Sql, olderThanMs: number, limit: number): Promise<void> {
  await tx`DELETE FROM published WHERE (table_name, key) IN (SELECT table_name, key FROM published
    WHERE content IS NULL AND published_ms < ${olderThanMs} LIMIT ${limit})`;
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function keyState(row: any): KeyState {
  const version = { epoch: Number(row.epoch), seq: Number(row.seq) };
  return { table: row.table_name, key: row.key, version, deleted: row.deleted };
}

// deno-lint-ignore no-explicit-any -- a row as the driver gives it
function fromRow(row: any): PublishState {
  return {
    sums: row.sums,
    floorEpoch: Number(row.floor_epoch),
    lastId: row.last_id,
    fullFromId: row.full_from_id,
    republishNumber: Number(row.republish_number),
    republication: row.republishing
      ? { fromId: row.republish_from_id, table: row.republish_table, key: row.republish_key }
      : null,
    digestAgeMs: row.digest_age_ms === null ? null : Number(row.digest_age_ms),
  };
}

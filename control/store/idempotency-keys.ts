/**
 * What a mutation answered under a key. The line is written in the transaction of the change itself: a second call with
 * the same key waits at the primary key until the first one has committed or rolled back, and so never does it twice.
 */
import { json, type Sql } from "./database.ts";

export const IDEMPOTENCY_KEY_DAYS = 7;

export interface KeptAnswer {
  readonly inputHash: string;
  readonly answer: Record<string, string>;
}

/** Null where the key was free: it is this transaction's now, and `keepAnswer` must follow. */
export async function claimKey(
  tx: Sql,
  subject: string,
  key: string,
  inputHash: string,
): Promise<KeptAnswer | null> {
  const claimed = await tx`INSERT INTO idempotency_keys (subject, key, input_hash, answer)
    VALUES (${subject}, ${key}, ${inputHash}, '{}') ON CONFLICT (subject, key) DO NOTHING RETURNING key`;
  return claimed.length === 1 ? null : await keptAnswer(tx, subject, key);
}

export async function keptAnswer(sql: Sql, subject: string, key: string): Promise<KeptAnswer | null> {
  const [row] = await sql`SELECT input_hash, answer FROM idempotency_keys
    WHERE subject = ${subject} AND key = ${key}`;
  return row === undefined ? null : { inputHash: row.input_hash, answer: row.answer };
}

export async function keepAnswer(
  tx: Sql,
  subject: string,
  key: string,
  answer: Record<string, string>,
): Promise<void> {
  await tx`UPDATE idempotency_keys SET answer = ${json(answer)}::text::jsonb
    WHERE subject = ${subject} AND key = ${key}`;
}

export async function dropOldKeys(sql: Sql): Promise<void> {
  await sql`DELETE FROM idempotency_keys
    WHERE created_at < now() - ${IDEMPOTENCY_KEY_DAYS} * interval '1 day'`;
}

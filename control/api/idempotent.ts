/**
 * A mutation with an idempotency key happens once: the same key with the same input gives the same answer, whatever was
 * lost on the way to the caller; with other input it is refused. Keys belong to the token's subject and organisations.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { GodwitError } from "../contract/errors.ts";
import type { Principal } from "../access/token.ts";
import type { Sql, Store } from "../store/database.ts";
import { claimKey, keepAnswer, type KeptAnswer, keptAnswer } from "../store/idempotency-keys.ts";
import { validate } from "./validate.ts";

export const IdempotencyKey = z.string().min(1).max(128).regex(
  /^[\x21-\x7e]+$/,
  "printable ASCII, no spaces",
);

export interface Mutation {
  readonly principal: Pick<Principal, "subject" | "organizations">;
  readonly operation: string;
  readonly key: string | null;
  /** Without the key. */
  readonly input: unknown;
}

type Answer = Record<string, string>;

/** For changes of the database: key and change are committed together. */
export async function onceInStore<T extends Answer>(
  store: Store,
  mutation: Mutation,
  work: (tx: Sql) => Promise<T>,
): Promise<T> {
  const subject = ownerOf(mutation.principal);
  const key = keyOf(mutation);
  const hash = hashOf(mutation);
  return await store.transaction(async (tx) => {
    if (key === null) return await work(tx);
    const kept = await claimKey(tx, subject, key, hash);
    if (kept !== null) return sameAnswer<T>(kept, hash, key);
    const answer = await work(tx);
    await keepAnswer(tx, subject, key, answer);
    return answer;
  });
}

/** For what a worker does: repeating it is harmless, so the key is kept after it and not before. */
export async function onceOutside<T extends Answer>(
  store: Store,
  mutation: Mutation,
  work: () => Promise<T>,
): Promise<T> {
  const subject = ownerOf(mutation.principal);
  const key = keyOf(mutation);
  if (key === null) return await work();
  const hash = hashOf(mutation);
  const kept = await store.read((sql) => keptAnswer(sql, subject, key));
  if (kept !== null) return sameAnswer<T>(kept, hash, key);
  const answer = await work();
  return await onceInStore(store, mutation, () => Promise.resolve(answer));
}

/** Two tokens of one subject (each of the operator's has the same unless told) may act in different organisations. */
function ownerOf({ subject, organizations }: Mutation["principal"]): string {
  const slugs = createHash("sha256").update([...organizations].sort().join(",")).digest("hex");
  return `${subject} ${slugs}`;
}

function keyOf(mutation: Mutation): string | null {
  if (mutation.key === null) return null;
  return validate(IdempotencyKey, mutation.key, {
    code: "api.idempotency_key_invalid",
    what: "idempotency key",
    hint: "Use 1 to 128 printable ASCII characters, a UUID for example.",
  });
}

function sameAnswer<T extends Answer>(kept: KeptAnswer, hash: string, key: string): T {
  if (kept.inputHash === hash) return kept.answer as T;
  throw new GodwitError(
    "api.idempotency_conflict",
    `Cannot use the idempotency key ${JSON.stringify(key)}: it was used with other input`,
    { fault: "client", hint: "Use a new key for each change that is meant." },
  );
}

function hashOf(mutation: Mutation): string {
  return createHash("sha256").update(mutation.operation + "\n" + canonical(mutation.input)).digest("hex");
}

/** JSON with its names in order, so that the same input is the same text. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_, v) =>
      typeof v === "object" && v !== null && !Array.isArray(v)
        ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => a < b ? -1 : 1))
        : v,
  ) ?? "null";
}

/** Entries of the state streams: how they are made of fields, and read from them. What they say is `events.ts`'. */
import { assert } from "./errors.ts";
import { BATCH_BYTES_MAX, BATCH_EVENTS_MAX, ENTRY, type StateDigest, type StateEvent } from "./events.ts";
import { signEntry, type SigningKey } from "./signing.ts";

export type EntryKind = "batch" | "digest";

export interface StreamEntry {
  readonly kind: EntryKind;
  readonly owner: string;
  /** JSON, not looked at yet. */
  readonly payload: string;
  /** Null where it is not signed. */
  readonly signature: string | null;
}

/**
 * @param key null: unsigned, for replicas that look at no signatures
 * @returns names and values in turn, as XADD takes them
 */
export function batchFields(
  stream: string,
  owner: string,
  events: readonly StateEvent[],
  key: SigningKey | null,
): string[] {
  assert(events.length > 0 && events.length <= BATCH_EVENTS_MAX, `a batch of ${events.length} events`);
  const payload = JSON.stringify(events);
  assert(Buffer.byteLength(payload) <= BATCH_BYTES_MAX, `a batch of ${Buffer.byteLength(payload)} bytes`);
  return fieldsOf(stream, owner, "batch", payload, key);
}

/** Like `batchFields`. */
export function digestFields(stream: string, digest: StateDigest, key: SigningKey | null): string[] {
  return fieldsOf(stream, digest.owner, "digest", JSON.stringify(digest), key);
}

function fieldsOf(
  stream: string,
  owner: string,
  kind: EntryKind,
  payload: string,
  key: SigningKey | null,
): string[] {
  const fields = [ENTRY.owner, owner, ENTRY[kind], payload];
  if (key !== null) fields.push(ENTRY.signature, signEntry(stream, owner, kind, payload, key));
  return fields;
}

/** @returns null where it is neither a batch nor a digest */
export function readEntry(fields: readonly string[]): StreamEntry | null {
  let owner: string | null = null, batch: string | null = null, digest: string | null = null;
  let signature: string | null = null;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1]!;
    switch (fields[i]) {
      case ENTRY.owner:
        owner = value;
        break;
      case ENTRY.batch:
        batch = value;
        break;
      case ENTRY.digest:
        digest = value;
        break;
      case ENTRY.signature:
        signature = value;
    }
  }
  if (owner === null || (batch === null) === (digest === null)) return null;
  return batch !== null
    ? { kind: "batch", owner, payload: batch, signature }
    : { kind: "digest", owner, payload: digest!, signature };
}

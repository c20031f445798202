/** Entries that nobody should have appended; each is refused or skipped by itself, and stops nothing. */
import { ENTRY, EVENT_BYTES_MAX, EVENT_SCHEMA } from "../../../control/contract/events.ts";
import type { SigningKey } from "../../../control/contract/signing.ts";
import { batchFields } from "../../../control/contract/stream-entry.ts";
import type { Chance } from "./chance.ts";

export const POISONS = [
  "no entry",
  "bad JSON",
  "unknown schema",
  "unknown table",
  "invalid row",
  "oversize",
  "another's key",
  "another's name",
] as const;
export type Poison = (typeof POISONS)[number] | "forged signature";

const MALLORY = "worker:mallory";
/** Would win over whatever is there, if it were believed. */
const version = { epoch: Number.MAX_SAFE_INTEGER, seq: 1 };

/**
 * @param victim whose key it is after
 * @param forger a key that is not the victim's
 */
export function poisonEntry(
  kind: Poison,
  stream: string,
  victim: { owner: string; table: string; key: string; row: Record<string, unknown> },
  forger: SigningKey | null,
  chance: Chance,
): readonly string[] {
  const { owner, table, key, row } = victim;
  const event = {
    schema: EVENT_SCHEMA,
    owner,
    table,
    key,
    version,
    deleted: false,
    row,
    published_ms: 1,
  } as const;
  switch (kind) {
    case "no entry":
      return chance.pick([["other", "field"], ["owner", owner], [
        "owner",
        owner,
        "batch",
        "[]",
        "digest",
        "{}",
      ]]);
    case "bad JSON":
      return raw(owner, chance.pick(["{", "}", "", '{"schema":1']));
    case "unknown schema":
      return raw(owner, JSON.stringify({ ...event, schema: 2 }));
    case "unknown table":
      return raw(
        owner,
        JSON.stringify({ ...event, table: chance.pick(["volumes", "constructor", "streams"]) }),
      );
    case "invalid row":
      return raw(owner, JSON.stringify({ ...event, row: { ...row, id: 5, hostname: 5 } }));
    case "oversize":
      return raw(owner, JSON.stringify({ ...event, row: { ...row, padding: "x".repeat(EVENT_BYTES_MAX) } }));
    case "another's key":
      return raw(MALLORY, JSON.stringify({ ...event, owner: MALLORY }));
    case "another's name":
      return raw(MALLORY, JSON.stringify(event));
    case "forged signature":
      return batchFields(stream, owner, [event], forger);
  }
}

/** A batch of one event, whatever it says. */
function raw(owner: string, json: string): string[] {
  return [ENTRY.owner, owner, ENTRY.batch, `[${json}]`];
}

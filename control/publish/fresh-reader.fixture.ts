/** What a replica would hold that has nothing but the stream: it reads all of it, and checks each digest at its place. */
import type { Redis } from "ioredis";
import { z } from "zod";
import { isNewer, StateDigest, StateEvent, type Version } from "../contract/events.ts";
import { EMPTY_SUM, rowSum, RunningSum } from "../contract/row-sum.ts";
import { isSignedBy, type PublisherKey, verifyingKey } from "../contract/signing.ts";
import { readEntry } from "../contract/stream-entry.ts";

export interface Reading {
  /** `TABLE/KEY` → the newest event; live rows alone. */
  readonly live: Map<string, StateEvent>;
  readonly digests: { readonly digest: StateDigest; readonly matches: boolean }[];
  readonly entries: number;
  readonly events: StateEvent[];
  readonly unsigned: number;
  readonly lastIsDigest: boolean;
}

/** @param key whose signatures count, null: anybody's */
export async function readAnew(
  redis: Redis,
  stream: string,
  owner: string,
  key: PublisherKey | null = null,
): Promise<Reading> {
  const verifying = key === null ? null : verifyingKey(key);
  const newest = new Map<string, StateEvent>();
  const digests: { digest: StateDigest; matches: boolean }[] = [];
  const events: StateEvent[] = [];
  let unsigned = 0, lastIsDigest = false;
  const entries = await redis.xrange(stream, "-", "+");
  for (const [, fields] of entries) {
    const entry = readEntry(fields);
    if (entry?.owner !== owner) continue;
    const { kind, payload, signature } = entry;
    if (verifying !== null && !isSignedBy(stream, owner, kind, payload, signature ?? "", verifying)) {
      unsigned++;
      continue;
    }
    lastIsDigest = kind === "digest";
    if (kind === "digest") {
      const digest = StateDigest.parse(JSON.parse(payload));
      for (const [name, event] of newest) {
        if (event.version.epoch < digest.floor_epoch) newest.delete(name);
      }
      digests.push({ digest, matches: matchesDigest(newest.values(), digest) });
      continue;
    }
    for (const event of z.array(StateEvent).parse(JSON.parse(payload))) {
      events.push(event);
      const name = `${event.table}/${event.key}`;
      const known = newest.get(name);
      if (known === undefined || isNewer(event.version, known.version)) newest.set(name, event);
    }
  }
  const live = new Map([...newest].filter(([, event]) => !event.deleted));
  return { live, digests, entries: entries.length, events, unsigned, lastIsDigest };
}

function matchesDigest(events: Iterable<StateEvent>, digest: StateDigest): boolean {
  const sums = new Map<string, { rows: number; sum: RunningSum }>();
  let newest: Version = { epoch: 0, seq: 0 };
  for (const { table, key, version, deleted } of events) {
    if (isNewer(version, newest)) newest = version;
    if (deleted) continue;
    const counts = sums.get(table) ?? { rows: 0, sum: new RunningSum() };
    counts.rows++;
    counts.sum.toggle(rowSum(table, key, version));
    sums.set(table, counts);
  }
  const tables = new Set([...sums.keys(), ...Object.keys(digest.tables)]);
  return !isNewer(newest, digest.newest) && [...tables].every((table) => {
    const mine = sums.get(table);
    const told = digest.tables[table];
    return told?.rows === (mine?.rows ?? 0) && told.sum === (mine?.sum.toString() ?? EMPTY_SUM);
  });
}

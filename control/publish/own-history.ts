/**
 * What an owner's stream remembers of it. A database that was restored from a backup has given out fewer versions than the
 * stream shows, and would give the same ones out again; who finds that takes a new epoch.
 */
import type { Redis } from "ioredis";
import { z } from "zod";
import { isNewer, StateDigest, StateEvent, type Version } from "../contract/events.ts";
import { isSignedBy, type SigningKey, verifyingKey } from "../contract/signing.ts";
import { readEntry, type StreamEntry } from "../contract/stream-entry.ts";

/** As far as is looked back from the stream's end. Owners renew their digests often. */
export const HISTORY_ENTRIES_MAX = 5_000;
const PAGE_ENTRIES = 100;

const Batch = z.array(StateEvent);

/**
 * The highest version that `owner` shows from its newest digest on; null where it shows none.
 *
 * @param key null: signatures are not looked at. Otherwise only what it signed counts, so that nobody else who may write
 * to the stream can drive the owner through epochs.
 */
export async function newestPublished(
  redis: Redis,
  stream: string,
  owner: string,
  key: SigningKey | null,
): Promise<Version | null> {
  const verifying = key === null ? null : verifyingKey(key.publicKey);
  let newest: Version | null = null;
  let end = "+";
  for (let looked = 0; looked < HISTORY_ENTRIES_MAX; looked += PAGE_ENTRIES) {
    const entries = await redis.xrevrange(stream, end, "-", "COUNT", PAGE_ENTRIES);
    for (const [, fields] of entries) {
      const entry = readEntry(fields);
      if (entry?.owner !== owner) continue;
      const { kind, payload, signature } = entry;
      if (verifying !== null && !isSignedBy(stream, owner, kind, payload, signature ?? "", verifying)) {
        continue;
      }
      for (const version of versionsOf(entry)) {
        if (newest === null || isNewer(version, newest)) newest = version;
      }
      if (kind === "digest") return newest;
    }
    if (entries.length < PAGE_ENTRIES) break;
    end = `(${entries.at(-1)![0]}`;
  }
  return newest;
}

/** None of an entry that cannot be read: another version of Godwit may have written it. */
function versionsOf(entry: StreamEntry): Version[] {
  let payload: unknown;
  try {
    payload = JSON.parse(entry.payload);
  } catch {
    return [];
  }
  if (entry.kind === "digest") {
    const digest = StateDigest.safeParse(payload);
    return digest.success ? [digest.data.newest] : [];
  }
  const batch = Batch.safeParse(payload);
  return batch.success ? batch.data.map((event) => event.version) : [];
}

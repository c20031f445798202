/** What is asked of a Redis about the state streams, and how its answers are read. */
import type { Redis } from "ioredis";
import { messageOf } from "../../control/contract/errors.ts";
import { regionStream } from "../../control/contract/events.ts";
import { DirectReads } from "./direct-reads.ts";
import type { Decode } from "./reply-parser.ts";
import type { StreamInfo } from "./stream-gap.ts";

const SCAN_COUNT = 1_000;
const REGION_PREFIX = regionStream("");

export interface EntryOf<Field> {
  readonly id: string;
  /** Names and values in turn. */
  readonly fields: readonly Field[];
}

export interface EntriesOf<Field> {
  readonly stream: string;
  readonly entries: readonly EntryOf<Field>[];
}

type Reply<Field> = [stream: Field, entries: [id: Field, fields: Field[]][]][] | null;
type Entries<Field> = [id: Field, fields: Field[]][];

/** Fields as text, which they are, or as the bytes that they are made of. */
export interface FieldKind<Field> {
  readonly ask: (redis: Redis, command: string, parts: readonly (string | number)[]) => Promise<unknown>;
  readonly decode: Decode<Field>;
}
export const TEXT: FieldKind<string> = {
  ask: (redis, command, parts) => redis.call(command, [...parts]),
  decode: (bytes, from, to) => bytes.toString("utf8", from, to),
};
export const BYTES: FieldKind<Buffer> = {
  ask: (redis, command, parts) => redis.callBuffer(command, [...parts]),
  decode: (bytes, from, to) => bytes.subarray(from, to),
};

export async function scanRegionStreams(redis: Redis): Promise<string[]> {
  const found = new Set<string>();
  let at = "0";
  do {
    const [next, keys] = await redis.scan(at, "MATCH", `${REGION_PREFIX}*`, "COUNT", SCAN_COUNT);
    for (const key of keys) if (/^[a-z]{3}$/.test(key.slice(REGION_PREFIX.length))) found.add(key);
    at = next;
  } while (at !== "0");
  return [...found];
}

/** @returns null where there is no such stream */
export async function readInfo(redis: Redis, stream: string): Promise<StreamInfo | null> {
  let flat: unknown[];
  try {
    flat = await redis.xinfo("STREAM", stream) as unknown[];
  } catch (error) {
    if (messageOf(error).includes("no such key")) return null;
    throw error;
  }
  const of = (name: string) => flat[flat.indexOf(name) + 1];
  const first = of("first-entry") as [string, unknown] | null;
  return {
    firstId: first === null ? null : String(first[0]),
    lastId: String(of("last-generated-id")),
    removed: Number(of("entries-added")) - Number(of("length")),
  };
}

/** All streams must lie on the server, and nobody else asks it anything meanwhile. @param blockMs 0: not at all */
export async function readStreams<Field>(
  redis: Redis,
  kind: FieldKind<Field>,
  positions: readonly (readonly [stream: string, position: string])[],
  countMax: number,
  blockMs: number,
): Promise<EntriesOf<Field>[]> {
  // To Redis, 0 would be for ever.
  const block = blockMs > 0 ? ["BLOCK", blockMs] : [];
  const streams = [...positions.map(([stream]) => stream), ...positions.map(([, position]) => position)];
  const parts = ["COUNT", countMax, ...block, "STREAMS", ...streams];
  const direct = DirectReads.of(redis);
  const answer = direct === null
    ? await kind.ask(redis, "XREAD", parts)
    : await direct.ask(["XREAD", ...parts], kind.decode);
  return (answer as Reply<Field> ?? []).map(([stream, entries]) => ({
    stream: String(stream),
    entries: entries.map(([id, fields]) => ({ id: String(id), fields })),
  }));
}

/** The newest entry whose id is `id` or lower; null where there is none. */
export async function readNewestUpTo<Field>(
  redis: Redis,
  kind: FieldKind<Field>,
  stream: string,
  id: string,
): Promise<EntryOf<Field> | null> {
  const [entry] = await kind.ask(redis, "XREVRANGE", [stream, id, "-", "COUNT", 1]) as Entries<Field>;
  return entry === undefined ? null : { id: String(entry[0]), fields: entry[1] };
}

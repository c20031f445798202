/**
 * The state streams, as they stand in Redis. An entry is a batch of events or a digest, of one owner, signed by it:
 *
 *   batch:   owner, batch  = JSON array of StateEvent, signature
 *   digest:  owner, digest = JSON of StateDigest, signature
 *
 * A version is (epoch, seq) and only grows per key; a higher one wins whatever the order of arrival, so replicas
 * never merge. `epoch` grows when an owner restarts its count (a restore from backup), `seq` with each change.
 */
import { z } from "zod";

export const EVENT_SCHEMA = 1;
export const EVENT_BYTES_MAX = 65_536;
/** Bounds of one entry: a signature covers many events, and one entry is taken in one step. */
export const BATCH_EVENTS_MAX = 500;
export const BATCH_BYTES_MAX = 262_144;
/** An owner's digest is renewed this often. */
export const DIGEST_INTERVAL_MS = 15_000;

/** Names of a stream entry's fields. */
export const ENTRY = { owner: "owner", batch: "batch", digest: "digest", signature: "signature" } as const;

export const GLOBAL_STREAM = "godwit:state:global";
export function regionStream(region: string): string {
  return `godwit:state:region:${region}`;
}
/** Lines of an app's machines, bounded by LOG_STREAM_ENTRIES_MAX. Not state: may lose its tail. */
export function logStream(appId: string): string {
  return `godwit:logs:${appId}`;
}
export const LOG_STREAM_ENTRIES_MAX = 10_000;
/** State streams are trimmed to about this many entries; a replica further behind bootstraps anew. */
export const STATE_STREAM_ENTRIES_MAX = 1_000_000;

export const Version = z.object({
  epoch: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  seq: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});
export type Version = z.infer<typeof Version>;

export function isNewer(a: Version, b: Version): boolean {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.seq > b.seq;
}

const Owner = z.string().min(1).max(80);

/** `table` and `row` are loose here on purpose: an unknown table is skipped and counted, not refused. */
export const StateEvent = z.object({
  schema: z.literal(EVENT_SCHEMA),
  /** The entry's own. */
  owner: Owner,
  table: z.string().min(1).max(64),
  key: z.string().min(1).max(300),
  version: Version,
  deleted: z.boolean(),
  /** null exactly where `deleted`. */
  row: z.record(z.string(), z.unknown()).nullable(),
  /** When it became durable at its owner, by the owner's clock. */
  published_ms: z.number().int(),
}).refine((e) => e.deleted === (e.row === null), "row must be null exactly where deleted");
export type StateEvent = z.infer<typeof StateEvent>;

/**
 * What an owner has published up to the place in the stream where this stands: for each table the number of its live
 * rows and the sum over them, so that a replica can tell at this very place whether it holds the same keys and versions.
 */
export const StateDigest = z.object({
  schema: z.literal(EVENT_SCHEMA),
  owner: Owner,
  tables: z.record(
    z.string().min(1).max(64),
    z.object({
      rows: z.number().int().min(0),
      /** XOR over the live rows of the first 16 bytes of SHA-256(`table NUL key NUL epoch NUL seq`), in hexadecimal. */
      sum: z.string().regex(/^[0-9a-f]{32}$/),
    }),
  ),
  /** The highest version given out so far: who finds a higher one than its own memory knows was rewound. */
  newest: Version,
  /** Every live row of this owner has this epoch or a later one: rows of earlier ones are of a history that was lost. */
  floor_epoch: z.number().int().min(0),
  published_ms: z.number().int(),
});
export type StateDigest = z.infer<typeof StateDigest>;

/** One log line in `logStream`: stream entry fields `machine`, `region`, `stream`, `at_ms`, `line`. */
export const LogLine = z.object({
  machine: z.string(),
  region: z.string(),
  /** `system` lines are Godwit's own words about the machine. */
  stream: z.enum(["stdout", "stderr", "system"]),
  at_ms: z.number().int(),
  line: z.string().max(16_384),
});
export type LogLine = z.infer<typeof LogLine>;

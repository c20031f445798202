/**
 * The events of the state streams, as they stand in Redis: one stream entry has one field `event` with this JSON.
 * A version is (epoch, seq) and only grows per key; a higher one wins whatever the order of arrival, so replicas
 * never merge. `epoch` grows when an owner restarts its count (a restore from backup), `seq` with each change.
 */
import { z } from "zod";

export const EVENT_SCHEMA = 1;
export const EVENT_BYTES_MAX = 65_536;
/** The one field of a stream entry. */
export const EVENT_FIELD = "event";

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

/** `table` and `row` are loose here on purpose: an unknown table is skipped and counted, not refused. */
export const StateEvent = z.object({
  schema: z.literal(EVENT_SCHEMA),
  owner: z.string().min(1).max(80),
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

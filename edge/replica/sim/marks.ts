/** Rare branches that a night of seeds must have met, by what world they need. */
import type { ReplicaStatus } from "../replica.ts";
import type { Features } from "./features.ts";
import type { Trace } from "./trace.ts";

const ALWAYS = [
  "a batch was appended twice",
  "a call met a stall",
  "a call was given up",
  "a connection was lost at a call",
  "a database's head was overwritten",
  "a disk was full",
  "a power cut lost what was written",
  "a power cut took back names of files",
  "a process ended after a commit",
  "a process ended before a statement",
  "a process ended in a transaction",
  "a replica could not begin",
  "a replica met a gap",
  "a replica met an old event",
  "a replica met an unknown table",
  "a replica reconnected",
  "a replica quarantined an event: invalid_row",
  "a replica quarantined an event: not_json",
  "a replica quarantined an event: oversize",
  "a replica quarantined an event: unknown_schema",
  "a replica quarantined an event: wrong_owner",
  "a snapshot was made",
  "a stream was trimmed",
  "an acknowledged append was lost",
  "an earlier event was appended again",
  "an edge crashed at an await",
  "an edge stopped and began again",
  "an owner began a new epoch",
  "an owner published everything: the stream is empty",
  "an owner published everything: the stream was trimmed",
  "an owner published everything: the tail is lost",
] as const;

const HEALING = [
  "a call on files failed",
  "a database was locked",
  "a digest differed",
  "a generation took over",
  "a new primary's clock was behind",
  "a row was damaged in a file",
  "a snapshot could not be fetched",
  "a snapshot was fetched",
  "an owner was restored from its backup",
] as const;

export function expectedMarks(features: Features): readonly string[] {
  return features.heals ? [...ALWAYS, ...HEALING] : ALWAYS;
}

/** What a replica counted in one life. */
export function markStatus(trace: Trace, status: ReplicaStatus): void {
  const mark = (name: string, times: number) => times > 0 && trace.sometimes(name, times);
  mark("a replica met a gap", status.gaps);
  mark("a replica reconnected", status.reconnects);
  mark("a replica met an old event", status.events_old);
  mark("a replica met an unknown table", Object.keys(status.unknown_tables).length);
  mark("events were applied", status.events_applied);
  const { digests } = status as { digests?: { mismatches?: number } };
  mark("a digest differed", digests?.mismatches ?? 0);
  for (const [reason, times] of Object.entries(status.events_quarantined)) {
    mark(`a replica quarantined an event: ${reason}`, times);
  }
}

/** Everything that grows has a bound: what replicas count and keep, connections, files on disk, outboxes after quiet. */
import { NAMES_COUNTED_MAX } from "../replica-counts.ts";
import { QUARANTINE_ROWS_MAX } from "../replica-store.ts";
import type { EdgeModel } from "./edge-model.ts";
import type { FakeRedis } from "./fake-redis.ts";
import type { OwnerState } from "./owner-state.ts";

/** The present generation, the next, one aside, what SQLite keeps beside each, and the links. */
export const FILES_MAX = 3 * 4 + 3;
/** In JSON. */
export const STATUS_BYTES_MAX = 256 * 1_024;

export function checkEdgeMemory(edge: EdgeModel, quarantined: number): string | null {
  const files = edge.disk.names().length;
  if (files > FILES_MAX) return `${edge.name} has ${files} files: ${edge.disk.names().join(" ")}`;
  if (quarantined > QUARANTINE_ROWS_MAX) return `${edge.name} keeps ${quarantined} refused events`;
  const status = edge.status();
  if (status === null) return null;
  const counted = Object.keys(status.unknown_tables).length;
  if (counted > NAMES_COUNTED_MAX + 1) return `${edge.name} counts ${counted} unknown tables`;
  const bytes = JSON.stringify(status).length;
  return bytes > STATUS_BYTES_MAX ? `${edge.name} says ${bytes} bytes of status` : null;
}

/** @param clients that may be connected: each has one connection */
export function checkServerMemory(redis: FakeRedis, clients: number): string | null {
  if (redis.connections > clients) return `${clients} clients keep ${redis.connections} connections`;
  return redis.waiters > clients ? `${clients} clients wait ${redis.waiters} times` : null;
}

/** After quiet. */
export function checkOutboxes(owners: readonly OwnerState[]): string | null {
  const full = owners.find(({ outbox }) => outbox.length > 0);
  return full === undefined ? null : `${full.owner} has ${full.outbox.length} events that it did not publish`;
}

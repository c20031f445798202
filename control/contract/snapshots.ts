/**
 * Snapshots of a replica, as edges and control serve them to a replica that begins, or begins anew:
 *
 *   GET /replica/snapshots               { snapshots: SnapshotManifest[] }, the newest first
 *   GET /replica/snapshots/ID            the compressed file; Range (RFC 9110 section 14) resumes a broken download
 *
 * Both ask for `Authorization: Bearer TOKEN` where the listener is not loopback. The file is a replica's SQLite file
 * (edge/replica/README.md), compacted, compressed with zstd (RFC 8878).
 */
import { z } from "zod";

export const SNAPSHOT_BYTES_MAX = 8 * 1_024 ** 3;

export const SnapshotManifest = z.object({
  schema: z.literal(1),
  /** Names its content: of two with the same id either will do. */
  id: z.string().regex(/^[0-9a-f]{16,64}$/),
  created_ms: z.number().int(),
  /** `PRAGMA user_version` of the file inside; a replica takes its own version only. */
  replica_schema: z.number().int(),
  /** Stream → the last entry that it holds. */
  positions: z.record(z.string().max(100), z.string().regex(/^\d+-\d+$/)),
  rows: z.number().int().min(0),
  /** Of the SQLite file, and of what travels. */
  file_bytes: z.number().int().min(0).max(SNAPSHOT_BYTES_MAX),
  bytes: z.number().int().min(0).max(SNAPSHOT_BYTES_MAX),
  /** Of what travels, hexadecimal. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type SnapshotManifest = z.infer<typeof SnapshotManifest>;

export const SnapshotList = z.object({ snapshots: z.array(SnapshotManifest).max(16) });

/**
 * Builds a snapshot: a compact copy of the replica's state, compressed, with its manifest. Whatever fails, and however full
 * the disk is, the snapshots that were there stay as they are, and nothing unfinished has the name of one.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, realpathSync, rmSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { SNAPSHOT_BYTES_MAX, SnapshotManifest } from "../../control/contract/snapshots.ts";
import type { OpenDatabase } from "../runtime/sqlite-port.ts";
import { nodeFiles } from "../replica/file-system.ts";
import { isFull } from "../replica/full-disk.ts";
import { copyState } from "./copy.ts";
import { SnapshotFolder, snapshotFolderOf } from "./folder.ts";

/** Events may come again, and late, but hardly later than this: an older tombstone has nobody left to refuse. */
export const TOMBSTONE_AGE_MS_MAX = 24 * 3_600_000;
/** The copy and what is packed of it stand on the disk together for a while. */
export const ROOM_FACTOR = 2;
/** JSON packs to a fifth at 3; more costs time that an edge has better uses for. */
const ZSTD_LEVEL = 3;
const READ_BYTES = 1_048_576;
const ID_DIGITS = 32;

export interface SnapshotBuild {
  readonly replicaFile: string;
  readonly openDatabase: OpenDatabase;
  readonly wallMs: () => number;
  /** Older tombstones are left out. @default TOMBSTONE_AGE_MS_MAX */
  readonly tombstoneAgeMsMax?: number;
  /** @default what the file system says */
  readonly freeBytes?: () => number;
}

/**
 * @returns null where no stream has moved since the newest one
 * @throws GodwitError `replica.snapshot_no_room`, `replica.snapshot_build_failed`
 */
export async function buildSnapshot(build: SnapshotBuild): Promise<SnapshotManifest | null> {
  const { replicaFile, openDatabase, wallMs } = build;
  const folder = new SnapshotFolder(snapshotFolderOf(replicaFile));
  const copy = join(folder.path, `build-${process.pid}.sqlite`);
  const packed = join(folder.path, `build-${process.pid}.zst`);
  try {
    folder.make();
    checkRoom(replicaFile, build.freeBytes?.() ?? nodeFiles.freeBytes(folder.path));
    const createdMs = wallMs();
    const newest = folder.list()[0] ?? null;
    const copied = copyState(
      replicaFile,
      copy,
      openDatabase,
      createdMs - (build.tombstoneAgeMsMax ?? TOMBSTONE_AGE_MS_MAX),
      newest?.positions ?? null,
    );
    if (copied === null) return null;
    const fileBytes = statSync(copy).size;
    if (fileBytes > SNAPSHOT_BYTES_MAX) {
      throw new Error(`${fileBytes} bytes are more than a snapshot may have`);
    }
    const { bytes, sha256 } = await pack(copy, packed);
    const manifest = SnapshotManifest.parse({
      schema: 1,
      id: sha256.slice(0, ID_DIGITS),
      created_ms: createdMs,
      replica_schema: copied.replicaSchema,
      positions: copied.positions,
      rows: copied.rows,
      file_bytes: fileBytes,
      bytes,
      sha256,
    });
    folder.add(packed, manifest);
    return manifest;
  } catch (error) {
    throw isFull(error) ? noRoom(replicaFile, messageOf(error), error) : failed(replicaFile, error);
  } finally {
    for (const path of [copy, `${copy}-journal`, packed, `${packed}.json`]) rmSync(path, { force: true });
  }
}

/** Compressed and on the disk. */
async function pack(copy: string, packed: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  await pipeline(
    createReadStream(copy, { highWaterMark: READ_BYTES }),
    createZstdCompress({
      chunkSize: READ_BYTES,
      params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
    }),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(packed, { mode: 0o600, highWaterMark: READ_BYTES }),
  );
  const file = await openFile(packed, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest("hex") };
}

function checkRoom(replicaFile: string, freeBytes: number): void {
  const file = realpathSync(replicaFile);
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  const needed = ROOM_FACTOR * (statSync(file).size + log);
  if (freeBytes < needed) throw noRoom(replicaFile, `${freeBytes} bytes are free, it may take ${needed}`);
}

function noRoom(replicaFile: string, reason: string, cause?: unknown): GodwitError {
  if (cause instanceof GodwitError) return cause;
  return new GodwitError("replica.snapshot_no_room", `Cannot build a snapshot of ${replicaFile}: ${reason}`, {
    fault: "us",
    retryable: true,
    hint: "free some space on that disk",
    cause,
  });
}

function failed(replicaFile: string, cause: unknown): GodwitError {
  if (cause instanceof GodwitError) return cause;
  return new GodwitError(
    "replica.snapshot_build_failed",
    `Cannot build a snapshot of ${replicaFile}: ${messageOf(cause)}`,
    { fault: "us", retryable: true, hint: "the replica's log says whether its file is damaged", cause },
  );
}

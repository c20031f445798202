/**
 * Makes a replica's file of a downloaded snapshot. Its manifest came from outside: what is not exactly what it says is
 * refused, and what would grow beyond that is stopped there, so that a bomb fills neither disk nor memory.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, rmSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { constants, createZstdDecompress } from "node:zlib";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { isFull } from "../replica/full-disk.ts";

/** 8 MiB of window, as RFC 8878 section 3.1.1.1.2 recommends to support; decompression never takes more memory. */
const WINDOW_LOG_MAX = 23;
const CHUNK_BYTES = 1_048_576;

/**
 * @param packed what was downloaded; @param path is written anew, and removed where that fails
 * @throws GodwitError `replica.snapshot_damaged`, `replica.snapshot_no_room`
 */
export async function unpackSnapshot(
  packed: string,
  manifest: SnapshotManifest,
  path: string,
): Promise<void> {
  const hash = createHash("sha256");
  let written = 0;
  try {
    await pipeline(
      createReadStream(packed, { highWaterMark: CHUNK_BYTES }),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          yield chunk;
        }
      },
      createZstdDecompress({
        chunkSize: CHUNK_BYTES,
        params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
      }),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          written += chunk.length;
          if (written > manifest.file_bytes) throw new Error("it unpacks to more than its manifest says");
          yield chunk;
        }
      },
      createWriteStream(path, { mode: 0o600, highWaterMark: CHUNK_BYTES }),
    );
    if (written !== manifest.file_bytes) throw new Error("it unpacks to less than its manifest says");
    if (hash.digest("hex") !== manifest.sha256) throw new Error("its SHA-256 is not what its manifest says");
    const file = await openFile(path, "r+");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    rmSync(path, { force: true });
    throw isFull(error) ? noRoom(path, messageOf(error), error) : damaged(manifest.id, error);
  }
}

export function noRoom(path: string, reason: string, cause?: unknown): GodwitError {
  return new GodwitError("replica.snapshot_no_room", `Cannot make ${path} of a snapshot: ${reason}`, {
    fault: "us",
    retryable: true,
    hint: "free some space on that disk",
    cause,
  });
}

function damaged(id: string, cause: unknown): GodwitError {
  return new GodwitError("replica.snapshot_damaged", `Cannot use snapshot ${id}: ${messageOf(cause)}`, {
    fault: "us",
    retryable: true,
    hint: "another source or a newer snapshot may serve; the log names who served this one",
    cause,
  });
}

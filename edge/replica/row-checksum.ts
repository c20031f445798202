/** The checksum that stands beside each row of the file, so that a byte that the disk changed is found by who reads it. */
import { crc32 } from "node:zlib";

export interface StoredRow {
  readonly key: string;
  readonly owner: string;
  readonly epoch: number;
  readonly seq: number;
  /** 1 for a tombstone. */
  readonly deleted: number;
  readonly published_ms: number;
  /** JSON; null for a tombstone. */
  readonly row: string | null;
}

/** CRC-32 (ISO 3309, as in zlib) of the columns in this order as UTF-8, with NUL between them; a missing row is empty. */
export function rowChecksum({ key, owner, epoch, seq, deleted, published_ms, row }: StoredRow): number {
  return crc32(`${key}\0${owner}\0${epoch}\0${seq}\0${deleted}\0${published_ms}\0${row ?? ""}`);
}

/** Tells a full disk apart from other failures, whichever tool met it, and says it with sizes. */
import { statfsSync } from "node:fs";
import { GodwitError, messageOf } from "../../contract/errors.ts";

const BYTES_PER_MB = 1_048_576;

export function isDiskFull(error: unknown): boolean {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : null;
  return code === "ENOSPC" || code === "EDQUOT" ||
    /no space left on device|disk quota exceeded|\bENOSPC\b/i.test(messageOf(error));
}

/** Called before anything is removed, so that the figures are those of the failure. */
export function diskFull(ref: string, stage: string, folder: string, neededBytes: number): GodwitError {
  const disk = statfsSync(folder);
  const mb = (blocks: number) => Math.floor(blocks * disk.bsize / BYTES_PER_MB);
  return new GodwitError(
    "image.disk_full",
    `Cannot ${stage} image ${ref}: the disk of ${folder} is full (${mb(disk.bavail)} MB free of ${
      mb(disk.blocks)
    } MB; ` +
      `the image takes about ${Math.ceil(neededBytes / BYTES_PER_MB)} MB twice while it is unpacked)`,
    {
      fault: "us",
      retryable: true,
      hint: "free space on this disk, or lower cache_mb_max so that old images go",
    },
  );
}

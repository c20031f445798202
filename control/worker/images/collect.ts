/** Which images go when the cache is over its bound. */
export interface CachedImage {
  readonly digest: string;
  readonly size_bytes: number;
  readonly usedAtMs: number;
}

/**
 * An image that was asked for a moment ago belongs to a machine that is about to be created, which no one can know of yet.
 */
export const COLLECT_AGE_MS_MIN = 10 * 60_000;

/** Oldest use first, until the rest fits into `bytesMax`; never one in use or used since `COLLECT_AGE_MS_MIN`. */
export function chooseForRemoval(
  images: readonly CachedImage[],
  bytesMax: number,
  inUse: ReadonlySet<string>,
  nowMs: number,
): string[] {
  let bytes = images.reduce((sum, image) => sum + image.size_bytes, 0);
  const removed: string[] = [];
  for (const image of images.toSorted((a, b) => a.usedAtMs - b.usedAtMs)) {
    if (bytes <= bytesMax) break;
    if (inUse.has(image.digest) || nowMs - image.usedAtMs < COLLECT_AGE_MS_MIN) continue;
    bytes -= image.size_bytes;
    removed.push(image.digest);
  }
  return removed;
}

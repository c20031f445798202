/** What is kept beside each base: `FOLDER/HEX/{base.erofs,image.json}`. The file's mtime is the image's last use. */
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Digest } from "../../contract/names.ts";
import { ImageConfig } from "../../contract/run-config.ts";
import { hexOf } from "./source.ts";

export const BASE_FILE = "base.erofs";
export const RECORD_FILE = "image.json";

export const ImageRecord = z.object({
  schema: z.literal(1),
  digest: Digest,
  /** Indexes through which it was found: references by their digest mean this image too. */
  index_digests: z.array(Digest),
  config: ImageConfig,
  /** Of the base. */
  size_bytes: z.number().int(),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

export interface KeptImage {
  readonly record: ImageRecord;
  usedAtMs: number;
}

export function folderName(digest: string): string {
  return hexOf(digest);
}

/** All images under a folder. What is not whole (a base of the wrong length, no record) is removed, not served. */
export function readImages(images: string): Map<string, KeptImage> {
  const kept = new Map<string, KeptImage>();
  for (const name of readdirSync(images)) {
    const folder = join(images, name);
    const image = readImage(folder, name);
    if (image === null) rmSync(folder, { recursive: true, force: true });
    else kept.set(image.record.digest, image);
  }
  return kept;
}

function readImage(folder: string, name: string): KeptImage | null {
  try {
    const file = join(folder, RECORD_FILE);
    const record = ImageRecord.parse(JSON.parse(readFileSync(file, "utf8")));
    const whole = folderName(record.digest) === name &&
      statSync(join(folder, BASE_FILE)).size === record.size_bytes;
    return whole ? { record, usedAtMs: statSync(file).mtimeMs } : null;
  } catch {
    return null; // an image can be pulled again; one that cannot be read is worth nothing
  }
}

/**
 * The spine: from a resolved manifest to a published base. Everything happens in one work folder on the disk of the store;
 * the last step is one rename. Whatever fails, the work folder goes, here or when the store is next opened.
 */
import { chmod, mkdir, mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assert, GodwitError } from "../../contract/errors.ts";
import { checkImage } from "./check-image.ts";
import { diskFull, isDiskFull } from "./disk-full.ts";
import { writeBase } from "./erofs/write-base.ts";
import type { EntryLimits } from "./image-tree.ts";
import { imageConfigOf, type Platform } from "./manifest.ts";
import { BASE_FILE, folderName, type ImageRecord, RECORD_FILE } from "./record.ts";
import { checkManifest, type ResolvedImage } from "./resolve.ts";
import { hexOf, type ImageSource } from "./source.ts";

export interface PullPlace {
  /** Of published images. */
  readonly images: string;
  /** Of work in progress, on the same file system. */
  readonly work: string;
}

export async function pullImage(
  ref: string,
  image: ResolvedImage,
  source: ImageSource,
  place: PullPlace,
  limits: EntryLimits,
  platform: Platform,
  onProgress: (message: string) => void,
): Promise<ImageRecord> {
  checkManifest(ref, image.manifest, limits.bytesMax);
  const work = await mkdtemp(join(place.work, "pull-"));
  let stage = "fetch";
  let bytes = image.manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
  const enter = (name: string, message: string) => {
    stage = name;
    onProgress(message);
  };
  try {
    const [blobs, plain, out] = await folders(work, "blobs", "plain", "out");

    enter("fetch", `fetching ${image.manifest.layers.length} layers, ${megabytes(bytes)}`);
    await source.fetchBlobs(
      image.digest,
      [image.manifest.config, ...image.manifest.layers],
      blobs,
      (some, all) => {
        onProgress(`fetched ${megabytes(some)} of ${megabytes(all)}`);
      },
    );

    enter("unpack", "checking and unpacking layers");
    const checked = await checkImage(ref, image.manifest, blobs, plain, limits, platform).catch(
      async (error) => {
        // A kept layer that went bad on this disk would fail each further pull.
        if (error instanceof GodwitError && error.code === "image.digest_mismatch") {
          for (const layer of image.manifest.layers) await source.forget(layer.digest);
        }
        throw error;
      },
    );
    bytes = checked.tree.bytes;

    enter("make the base of", `making the base, ${megabytes(bytes)}`);
    const file = join(out, BASE_FILE);
    const size = await writeBase(file, { ...checked, ref, uuid: uuidOf(image.digest) });
    await chmod(file, 0o444);

    const record: ImageRecord = {
      schema: 1,
      digest: image.digest,
      index_digests: image.indexDigest === null ? [] : [image.indexDigest],
      config: imageConfigOf(checked.config),
      size_bytes: size,
    };
    await publish(out, record, place.images);
    return record;
  } catch (error) {
    throw isDiskFull(error) ? diskFull(ref, stage, place.work, bytes) : error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function publish(out: string, record: ImageRecord, images: string): Promise<void> {
  await writeFile(join(out, RECORD_FILE), JSON.stringify(record), { mode: 0o600, flush: true });
  await rename(out, join(images, folderName(record.digest)));
  const folder = await open(images, "r");
  await folder.sync().finally(() => folder.close());
}

async function folders(work: string, ...names: string[]): Promise<[string, string, string]> {
  const made = names.map((name) => join(work, name));
  for (const folder of made) await mkdir(folder, { mode: 0o700 });
  const [a, b, c] = made;
  assert(a !== undefined && b !== undefined && c !== undefined, "three work folders");
  return [a, b, c];
}

/** The same image has the same file system id on every host. */
function uuidOf(digest: string): Uint8Array {
  return new Uint8Array(Buffer.from(hexOf(digest).slice(0, 32), "hex"));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`;
}

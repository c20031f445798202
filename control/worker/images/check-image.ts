/** Before anything is unpacked: config and layers are what the manifest promises, and each entry is safe. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import { type EntryLimits, ImageTree } from "./image-tree.ts";
import {
  checkPlatform,
  compressionOf,
  Config,
  type Manifest,
  parseDocument,
  type Platform,
  sha256,
} from "./manifest.ts";
import { scanLayer } from "./scan-layer.ts";
import { hexOf } from "./source.ts";

/** Tar headers, padding and names cost at most this share of the files themselves, or `TAR_OVERHEAD_BYTES`. */
const TAR_OVERHEAD_RATIO = 2;
const TAR_OVERHEAD_BYTES = 16 * 1_048_576;

export interface CheckedImage {
  readonly config: Config;
  readonly tree: ImageTree;
  /** The layers as plain tars, in order: where the tree's content stands. */
  readonly tars: string[];
}

export async function checkImage(
  ref: string,
  manifest: Manifest,
  blobFolder: string,
  plainFolder: string,
  limits: EntryLimits,
  platform: Platform,
): Promise<CheckedImage> {
  const config = await readConfig(ref, manifest, blobFolder);
  checkPlatform(ref, config, platform);
  const tree = new ImageTree(ref, limits);
  const tars: string[] = [];
  for (const [i, descriptor] of manifest.layers.entries()) {
    const diffId = config.rootfs.diff_ids[i];
    const compression = compressionOf(descriptor.mediaType);
    if (diffId === undefined || compression === null) throw layerCount(ref, manifest, config);
    const file = join(blobFolder, hexOf(descriptor.digest));
    // By its place: an image may have the same layer twice.
    const plainFile = compression === "none" ? null : join(plainFolder, `${i + 1}.tar`);
    await scanLayer({
      ref,
      file,
      layer: { number: i + 1, digest: descriptor.digest },
      descriptor,
      compression,
      diffId,
      tree,
      bytesMax: limits.bytesMax * TAR_OVERHEAD_RATIO + TAR_OVERHEAD_BYTES,
      plainFile,
    });
    tars.push(plainFile ?? file);
  }
  return { config, tree, tars };
}

async function readConfig(ref: string, manifest: Manifest, blobFolder: string): Promise<Config> {
  const bytes = await readFile(join(blobFolder, hexOf(manifest.config.digest)));
  if (sha256(bytes) !== manifest.config.digest) {
    throw new GodwitError(
      "image.digest_mismatch",
      `Cannot use image ${ref}: its config is not ${manifest.config.digest}`,
      {
        fault: "client",
        hint: "build and push the image again",
      },
    );
  }
  const config = parseDocument(ref, "config", bytes, Config);
  if (config.rootfs.diff_ids.length !== manifest.layers.length) throw layerCount(ref, manifest, config);
  return config;
}

function layerCount(ref: string, manifest: Manifest, config: Config): GodwitError {
  return new GodwitError(
    "image.bad_manifest",
    `Cannot use image ${ref}: its manifest has ${manifest.layers.length} layers, its config ${config.rootfs.diff_ids.length}`,
    { fault: "client", hint: "build and push the image again" },
  );
}

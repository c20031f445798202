/** From a reference to the one manifest of this host's platform, and its config: no layer is touched yet. */
import { GodwitError } from "../../contract/errors.ts";
import {
  chooseManifest,
  compressionOf,
  Index,
  Manifest,
  parseDocument,
  type Platform,
  sha256,
} from "./manifest.ts";
import { tooLarge } from "./image-tree.ts";
import type { ImageSource } from "./source.ts";

export interface ResolvedImage {
  /** Of the image manifest. */
  readonly digest: string;
  readonly manifest: Manifest;
  /** Of the index that it was found in, so that a reference by that digest is known again. */
  readonly indexDigest: string | null;
}

export async function resolveImage(
  ref: string,
  source: ImageSource,
  digest: string | null,
  platform: Platform,
): Promise<ResolvedImage> {
  const bytes = verified(ref, digest, await source.readManifest(digest));
  const found = { digest: sha256(bytes), bytes };
  if (!isIndex(bytes)) return { ...parsed(ref, found), indexDigest: null };
  const chosen = chooseManifest(ref, parseDocument(ref, "index", bytes, Index), platform);
  const manifest = verified(ref, chosen.digest, await source.readManifest(chosen.digest));
  return { ...parsed(ref, { digest: chosen.digest, bytes: manifest }), indexDigest: found.digest };
}

/** Refuses what the manifest alone shows to be too much or not understood. */
export function checkManifest(ref: string, manifest: Manifest, bytesMax: number): void {
  const packed = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
  if (packed > bytesMax) throw tooLarge(ref, bytesMax);
  for (const [i, layer] of manifest.layers.entries()) {
    if (compressionOf(layer.mediaType) !== null) continue;
    throw new GodwitError(
      "image.unsupported",
      `Cannot use image ${ref}: layer ${i + 1} is of media type ${JSON.stringify(layer.mediaType)}`,
      { fault: "client", hint: "layers are tar, tar+gzip or tar+zstd" },
    );
  }
}

function parsed(ref: string, found: { digest: string; bytes: Uint8Array }) {
  return { digest: found.digest, manifest: parseDocument(ref, "manifest", found.bytes, Manifest) };
}

function verified(ref: string, digest: string | null, bytes: Uint8Array): Uint8Array {
  if (digest === null || sha256(bytes) === digest) return bytes;
  throw new GodwitError(
    "image.digest_mismatch",
    `Cannot use image ${ref}: its manifest should be ${digest}, what came is ${sha256(bytes)}`,
    { fault: "us", retryable: true, hint: "the registry's copy is damaged; push the image again" },
  );
}

/** By what it holds, because media types of indexes are optional and sometimes wrong. */
function isIndex(bytes: Uint8Array): boolean {
  try {
    const document: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof document === "object" && document !== null && "manifests" in document;
  } catch {
    return false; // parseDocument says what is wrong with it
  }
}

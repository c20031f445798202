/** Where an image comes from: a registry (registry-source.ts) or a layout on disk (layout-source.ts). */
import type { Descriptor } from "./manifest.ts";
import type { Signature } from "./signature.ts";

export interface ImageSource {
  /** The bytes behind a tag or a digest, exactly as they are stored. */
  readManifest(digest: string | null): Promise<Uint8Array>;
  /**
   * Puts config and layers into `folder`, each named by the hexadecimal part of its digest. They are not to be believed
   * yet.
   */
  fetchBlobs(
    manifestDigest: string,
    blobs: readonly Descriptor[],
    folder: string,
    onProgress: (bytes: number, bytesAll: number) => void,
  ): Promise<void>;
  /** Those of the image with this digest, as they are beside it; none where there are none. */
  readSignatures(digest: string): Promise<Signature[]>;
  /** Told of a blob that came wrong, so that another try gets it anew. */
  forget(digest: string): Promise<void>;
}

export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

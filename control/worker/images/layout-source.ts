/** An image in an OCI image layout on this machine's disk (image-layout.md of the specification, v1.1). */
import { copyFile, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { isDiskFull } from "./disk-full.ts";
import { Index, MANIFEST_BYTES_MAX, parseDocument, sha256 } from "./manifest.ts";
import type { LayoutReference } from "./reference.ts";
import { hexOf, type ImageSource } from "./source.ts";

const TAG_ANNOTATION = "org.opencontainers.image.ref.name";
const LayoutFile = z.object({ imageLayoutVersion: z.string().startsWith("1.") });

export function layoutSource(reference: LayoutReference): ImageSource {
  const { folder, tag, text } = reference;
  const blobFile = (digest: string) => join(folder, "blobs", "sha256", hexOf(digest));

  const read = async (file: string, what: string): Promise<Uint8Array> => {
    try {
      const size = (await stat(file)).size;
      if (size > MANIFEST_BYTES_MAX) {
        throw new Error(`${file} has ${size} bytes, at most ${MANIFEST_BYTES_MAX}`);
      }
      return await readFile(file);
    } catch (cause) {
      throw notFound(
        text,
        `${what} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
        cause,
      );
    }
  };

  return {
    async readManifest(digest) {
      if (digest !== null) return await read(blobFile(digest), "its manifest");
      parseDocument(text, "oci-layout", await read(join(folder, "oci-layout"), "its oci-layout"), LayoutFile);
      const index = parseDocument(
        text,
        "index.json",
        await read(join(folder, "index.json"), "its index"),
        Index,
      );
      const named = tag === null
        ? index.manifests
        : index.manifests.filter((m) => m.annotations?.[TAG_ANNOTATION] === tag);
      const [only] = named;
      if (only === undefined) {
        throw notFound(text, `the layout has no ${tag === null ? "image" : `tag ${tag}`}`);
      }
      // Several without a tag are the platforms of one image: the index itself is what to choose from.
      if (named.length > 1) return await read(join(folder, "index.json"), "its index");
      return verifiedManifest(text, only.digest, await read(blobFile(only.digest), "its manifest"));
    },

    async fetchBlobs(_manifestDigest, blobs, target) {
      for (const blob of new Map(blobs.map((b) => [b.digest, b])).values()) {
        await copyFile(blobFile(blob.digest), join(target, hexOf(blob.digest))).catch((cause) => {
          if (isDiskFull(cause)) throw cause;
          throw notFound(text, `blob ${blob.digest} cannot be read: ${cause.message}`, cause);
        });
      }
    },

    readSignatures: () => Promise.resolve([]),

    forget: () => Promise.resolve(),
  };
}

function verifiedManifest(ref: string, digest: string, bytes: Uint8Array): Uint8Array {
  if (sha256(bytes) === digest) return bytes;
  throw new GodwitError("image.digest_mismatch", `Cannot use image ${ref}: its manifest is not ${digest}`, {
    fault: "client",
    hint: "the layout is damaged; write it again",
  });
}

function notFound(ref: string, why: string, cause?: unknown): GodwitError {
  return new GodwitError("image.not_found", `Cannot find image ${ref}: ${why}`, {
    fault: "client",
    hint: "an oci: reference names a folder with oci-layout, index.json and blobs/",
    cause,
  });
}

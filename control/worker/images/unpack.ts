/** Applies the layers with umoci: owners, modes, times, xattrs, hard links, whiteouts by the specification's layer.md. */
import { mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import type { CheckedImage } from "./check-image.ts";
import { type Descriptor, sha256 } from "./manifest.ts";
import { runTool } from "./run-tool.ts";
import { hexOf } from "./source.ts";

const UNPACK_MS_MAX = 15 * 60_000;
const TAG = "image";

export interface UnpackFolders {
  /** Config and layers, named by digest; moved from there. */
  readonly blobs: string;
  /** For the layout that umoci reads; made and removed. */
  readonly layout: string;
  /** Receives the files. */
  readonly root: string;
  readonly run: string;
  readonly temp: string;
}

export async function unpackImage(
  ref: string,
  config: Descriptor,
  checked: CheckedImage,
  folders: UnpackFolders,
): Promise<void> {
  await writeLayout(config, checked.layers, folders);
  const result = await runTool({
    argv: ["umoci", "raw", "unpack", "--image", `${folders.layout}:${TAG}`, folders.root],
    homeFolder: folders.run,
    tempFolder: folders.temp,
    timeoutMs: UNPACK_MS_MAX,
  });
  if (result.status !== 0) {
    throw new GodwitError(
      "image.unpack_failed",
      `Cannot unpack image ${ref}: ${
        result.killed ?? (result.stderr.split("\n").at(-1) || "umoci was killed")
      }`,
      {
        fault: "us",
        retryable: result.killed !== null,
        hint: "try again; if it stays, the image's layers contradict each other",
      },
    );
  }
  // The layers are not needed any more, and the base comes next on the same disk.
  await rm(folders.layout, { recursive: true, force: true });
}

async function writeLayout(config: Descriptor, layers: Descriptor[], folders: UnpackFolders): Promise<void> {
  const blobs = join(folders.layout, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  for (const name of await readdir(folders.blobs)) {
    if (/^[0-9a-f]{64}$/.test(name)) await rename(join(folders.blobs, name), join(blobs, name));
  }
  const sized = await Promise.all(
    layers.map(async (layer) => ({ ...layer, size: (await stat(join(blobs, hexOf(layer.digest)))).size })),
  );
  const manifest = encode({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { ...config, mediaType: "application/vnd.oci.image.config.v1+json" },
    layers: sized,
  });
  await writeFile(join(blobs, hexOf(sha256(manifest))), manifest);
  await writeFile(join(folders.layout, "oci-layout"), encode({ imageLayoutVersion: "1.0.0" }));
  await writeFile(
    join(folders.layout, "index.json"),
    encode({
      schemaVersion: 2,
      manifests: [{
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: sha256(manifest),
        size: manifest.length,
        annotations: { "org.opencontainers.image.ref.name": TAG },
      }],
    }),
  );
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

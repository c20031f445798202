/**
 * An image in a registry, through skopeo. It fetches into its `dir:` format, which keeps manifest, config and layers byte
 * for byte as the registry has them (its `oci:` format would rewrite docker manifests, and with them the digest).
 */
import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import type { Descriptor } from "./manifest.ts";
import type { RegistryReference } from "./reference.ts";
import { registryError } from "./registry-error.ts";
import { runTool, type ToolResult } from "./run-tool.ts";
import { hexOf, type ImageSource } from "./source.ts";

export interface RegistryAccess {
  /** containers-auth.json(5), or null for anonymous access. */
  readonly authFile: string | null;
  readonly insecureRegistries: readonly string[];
  readonly limits: RegistryLimits;
  /** HOME of skopeo. */
  readonly runFolder: string;
  /** TMPDIR of skopeo, removed by the caller. */
  readonly tempFolder: string;
}

export interface RegistryLimits {
  /** For one manifest. @default 30 s */
  readonly inspectMsMax: number;
  /** For all layers of one image. @default 30 min */
  readonly fetchMsMax: number;
  /** Without a byte more on disk. @default 60 s */
  readonly stallMsMax: number;
}
export const registryLimits: RegistryLimits = {
  inspectMsMax: 30_000,
  fetchMsMax: 30 * 60_000,
  stallMsMax: 60_000,
};

export function registrySource(reference: RegistryReference, access: RegistryAccess): ImageSource {
  const insecure = reference.host !== null && access.insecureRegistries.includes(reference.host);
  const auth = (prefix: "" | "src-") => [
    ...(access.authFile === null ? [`--${prefix}no-creds`] : [`--${prefix}authfile`, access.authFile]),
    ...(insecure ? [`--${prefix}tls-verify=false`] : []),
  ];
  const folders = { homeFolder: access.runFolder, tempFolder: access.tempFolder };
  const address = (digest: string | null) =>
    `docker://${reference.name}${digest === null ? `:${reference.tag ?? "latest"}` : `@${digest}`}`;

  const inspect = (digest: string | null): Promise<ToolResult> =>
    runTool({
      argv: ["skopeo", "inspect", "--raw", ...auth(""), address(digest)],
      timeoutMs: access.limits.inspectMsMax,
      ...folders,
    });

  return {
    async readManifest(digest) {
      const result = await inspect(digest);
      if (result.status === 0) return result.stdout;
      const error = registryError(reference.text, result, access.limits.inspectMsMax);
      if (error.code !== "image.not_found" || digest === null) throw error;
      // The digest is unknown. Where the name is known by its tag, it is the digest that is wrong.
      const byTag = await inspect(null);
      throw byTag.status === 0 ? wrongDigest(reference) : error;
    },

    async fetchBlobs(manifestDigest, blobs, folder) {
      const dir = join(folder, "dir");
      await mkdir(dir);
      const result = await runTool({
        argv: [
          "skopeo",
          "copy",
          "--insecure-policy",
          "--quiet",
          ...auth("src-"),
          address(manifestDigest),
          `dir:${dir}`,
        ],
        timeoutMs: access.limits.fetchMsMax,
        progress: { bytes: () => bytesIn(dir), stallMsMax: access.limits.stallMsMax },
        ...folders,
      });
      if (result.status !== 0) throw registryError(reference.text, result, access.limits.fetchMsMax);
      for (const hex of new Set(blobs.map((blob: Descriptor) => hexOf(blob.digest)))) {
        await rename(join(dir, hex), join(folder, hex));
      }
    },
  };
}

async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) {
    // A temporary file may have got its final name in between; the next look counts it.
    bytes += await stat(join(folder, name)).then((s) => s.size, () => 0);
  }
  return bytes;
}

function wrongDigest(reference: RegistryReference): GodwitError {
  return new GodwitError(
    "image.digest_mismatch",
    `Cannot find image ${reference.text}: ${reference.name}:${
      reference.tag ?? "latest"
    } exists, but not with digest ${reference.digest}`,
    { fault: "client", hint: "take the digest that the push printed, or `skopeo inspect` shows" },
  );
}

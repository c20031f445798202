/**
 * An image in a registry, through skopeo. Its layers go into a folder of blobs that outlives the pull (`blob-folder.ts`): a
 * broken pull goes on with the layers that are missing, and an app's next image fetches what is new in it. skopeo's `oci:`
 * format would rewrite docker manifests, and with them the digest; so its manifest is not used, the registry's own is.
 */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { backoffMs } from "../backoff.ts";
import type { BlobFolder } from "./blob-folder.ts";
import { Descriptor, parseDocument } from "./manifest.ts";
import type { RegistryReference } from "./reference.ts";
import { registryError } from "./registry-error.ts";
import { runTool, type ToolResult } from "./run-tool.ts";
import {
  PAYLOAD_BYTES_MAX,
  type Signature,
  SIGNATURE_ANNOTATION,
  SIGNATURES_MAX,
  signatureTag,
} from "./signature.ts";
import { hexOf, type ImageSource } from "./source.ts";

export interface RegistryAccess {
  /** containers-auth.json(5), or null for anonymous access. */
  readonly authFile: string | null;
  readonly insecureRegistries: readonly string[];
  /** containers-registries.conf(5), written by `registries-conf.ts`. */
  readonly registriesFile: string;
  readonly limits: RegistryLimits;
  readonly blobs: BlobFolder;
  /** HOME of skopeo. */
  readonly runFolder: string;
  /** TMPDIR of skopeo, removed by the caller. */
  readonly tempFolder: string;
}

export interface RegistryLimits {
  /** For one manifest. @default 30 s */
  readonly inspectMsMax: number;
  /** For all layers of one image, all tries together. @default 30 min */
  readonly fetchMsMax: number;
  /** Without a byte more on disk. @default 60 s */
  readonly stallMsMax: number;
  /** Tries of one manifest or of all layers, where another may go better. @default 3 */
  readonly triesMax: number;
}
export const registryLimits: RegistryLimits = {
  inspectMsMax: 30_000,
  fetchMsMax: 30 * 60_000,
  stallMsMax: 60_000,
  triesMax: 3,
};
const SignatureManifest = z.object({
  layers: z.array(Descriptor.extend({ annotations: z.record(z.string(), z.string()).optional() })),
});
/** Between two tries. */
const RETRY = { firstMs: 500, capMs: 5_000 };
const PROGRESS_MS = 2_000;

export function registrySource(reference: RegistryReference, access: RegistryAccess): ImageSource {
  const insecure = reference.host !== null && access.insecureRegistries.includes(reference.host);
  const auth = (prefix: "" | "src-") => [
    ...(access.authFile === null ? [`--${prefix}no-creds`] : [`--${prefix}authfile`, access.authFile]),
    ...(insecure ? [`--${prefix}tls-verify=false`] : []),
  ];
  const tool = {
    homeFolder: access.runFolder,
    tempFolder: access.tempFolder,
  };
  const skopeo = ["skopeo", "--registries-conf", access.registriesFile];
  const address = (digest: string | null) =>
    `docker://${reference.name}${digest === null ? `:${reference.tag ?? "latest"}` : `@${digest}`}`;

  const inspect = (what: readonly string[], digest: string | null): Promise<ToolResult> =>
    runTool({
      argv: [...skopeo, "inspect", "--raw", ...what, ...auth(""), address(digest)],
      timeoutMs: access.limits.inspectMsMax,
      ...tool,
    });
  const failure = (result: ToolResult) => registryError(reference.text, result, access.limits.inspectMsMax);

  return {
    async readManifest(digest) {
      const result = await again(access.limits, () => inspect([], digest), failure);
      if (result.status === 0) return result.stdout;
      const error = failure(result);
      if (error.code !== "image.not_found" || digest === null) throw error;
      // The digest is unknown. Where the name is known by its tag, it is the digest that is wrong.
      const byTag = await inspect([], null);
      throw byTag.status === 0 ? wrongDigest(reference) : error;
    },

    async fetchBlobs(manifestDigest, blobs, folder, onProgress) {
      const layout = join(folder, "oci");
      await mkdir(layout);
      const begun = performance.now();
      const wanted = blobs.reduce((sum, blob) => sum + blob.size, 0);
      const result = await again(access.limits, () =>
        runTool({
          argv: [
            ...[...skopeo, "copy", "--insecure-policy", "--quiet", ...auth("src-"), address(manifestDigest)],
            ...["--dest-oci-accept-uncompressed-layers", "--dest-shared-blob-dir", access.blobs.folder],
            `oci:${layout}:image`,
          ],
          timeoutMs: Math.max(1, access.limits.fetchMsMax - (performance.now() - begun)),
          progress: {
            bytes: () => bytesOf(blobs, access.blobs),
            stallMsMax: access.limits.stallMsMax,
            everyMs: PROGRESS_MS,
            onBytes: (bytes) => onProgress(Math.min(bytes, wanted), wanted),
          },
          ...tool,
        }), (failed) => registryError(reference.text, failed, access.limits.fetchMsMax));
      if (result.status !== 0) throw registryError(reference.text, result, access.limits.fetchMsMax);
      for (const blob of new Map(blobs.map((one) => [one.digest, one])).values()) {
        if (await access.blobs.linkTo(blob.digest, folder)) continue;
        // skopeo has put another config in the place of docker's own.
        const config = await inspect(["--config"], manifestDigest);
        if (config.status !== 0) throw failure(config);
        await writeFile(join(folder, hexOf(blob.digest)), config.stdout);
      }
    },

    async readSignatures(digest) {
      const sigAddress = `docker://${reference.name}:${signatureTag(digest)}`;
      const folder = await mkdtemp(join(access.tempFolder, "signatures-"));
      try {
        const run = () =>
          runTool({
            argv: [
              ...skopeo,
              "copy",
              "--insecure-policy",
              "--quiet",
              ...auth("src-"),
              sigAddress,
              `dir:${folder}`,
            ],
            timeoutMs: access.limits.inspectMsMax,
            ...tool,
          });
        const result = await again(access.limits, run, failure);
        if (result.status === 0) return await signaturesIn(reference.text, folder);
        const error = failure(result);
        if (error.code === "image.not_found") return [];
        throw error;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },

    async forget(digest) {
      await access.blobs.remove(digest);
    },
  };
}

/** Of an artifact in skopeo's `dir:` format. */
async function signaturesIn(ref: string, folder: string): Promise<Signature[]> {
  const manifest = parseDocument(
    ref,
    "signature",
    await readFile(join(folder, "manifest.json")),
    SignatureManifest,
  );
  const found: Signature[] = [];
  for (const { digest, size, annotations } of manifest.layers.slice(0, SIGNATURES_MAX)) {
    const signature = annotations?.[SIGNATURE_ANNOTATION];
    if (signature === undefined || size > PAYLOAD_BYTES_MAX) continue;
    found.push({ payload: await readFile(join(folder, hexOf(digest))), signature });
  }
  return found;
}

/** The last of a few tries, or the first that went well or failed in a way that another try would too. */
async function again(
  limits: RegistryLimits,
  run: () => Promise<ToolResult>,
  failure: (result: ToolResult) => GodwitError,
): Promise<ToolResult> {
  for (let tries = 1;; tries += 1) {
    const result = await run();
    // Who was silent until the limit has had all the time there is.
    if (result.status === 0 || result.killed !== null || tries >= limits.triesMax) return result;
    if (!failure(result).retryable) return result;
    await delay(backoffMs(RETRY, tries, Math.random));
  }
}

/** What has come of these blobs, those under way by their temporary files. */
async function bytesOf(blobs: readonly Descriptor[], folder: BlobFolder): Promise<number> {
  let bytes = await folder.bytesUnderWay();
  for (const blob of new Set(blobs.map((one) => one.digest))) {
    bytes += await stat(folder.fileOf(blob)).then((found) => found.size, () => 0);
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

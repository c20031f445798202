/**
 * Manifests and indexes of the OCI image specification v1.1, and docker's schema 2 which says the same in other media
 * types. Only what is needed to find the layers of one platform; everything is bounded before it is believed.
 */
import { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { Digest } from "../../contract/names.ts";
import { ImageConfig } from "../../contract/run-config.ts";

export const MANIFEST_BYTES_MAX = 4 * 1_048_576;
/** docker's own bound is 127. */
export const LAYERS_MAX = 128;

export const Descriptor = z.object({
  mediaType: z.string().max(255).default(""),
  digest: Digest,
  size: z.number().int().min(0),
});
export type Descriptor = z.infer<typeof Descriptor>;

export const Platform = z.object({
  os: z.string().max(64),
  architecture: z.string().max(64),
  variant: z.string().max(64).optional(),
});
export type Platform = z.infer<typeof Platform>;

export const Index = z.object({
  manifests: z.array(Descriptor.extend({
    platform: Platform.optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  })).max(1_024),
});
export type Index = z.infer<typeof Index>;

export const Manifest = z.object({
  config: Descriptor,
  layers: z.array(Descriptor).max(LAYERS_MAX),
});
export type Manifest = z.infer<typeof Manifest>;

const strings = z.array(z.string()).nullish().transform((v) => v ?? []);
const string = z.string().nullish().transform((v) => v ?? "");

/** The image configuration, config.md of the specification. */
export const Config = z.object({
  os: string,
  architecture: string,
  rootfs: z.object({ diff_ids: z.array(Digest).max(LAYERS_MAX) }),
  config: z.object({
    Entrypoint: strings,
    Cmd: strings,
    Env: strings,
    WorkingDir: string,
    User: string,
    StopSignal: z.string().nullish().transform((v) => v || null),
  }).nullish(),
});
export type Config = z.infer<typeof Config>;

export function imageConfigOf(config: Config): ImageConfig {
  const c = config.config;
  return ImageConfig.parse(
    c == null ? {} : {
      entrypoint: c.Entrypoint,
      cmd: c.Cmd,
      env: c.Env,
      working_dir: c.WorkingDir,
      user: c.User,
      stop_signal: c.StopSignal,
    },
  );
}

export type LayerCompression = "none" | "gzip" | "zstd";

/** How a layer is packed, or null for a media type that is not a layer that this worker can unpack. */
export function compressionOf(mediaType: string): LayerCompression | null {
  if (mediaType === "application/vnd.docker.image.rootfs.diff.tar.gzip") return "gzip";
  if (mediaType === "application/vnd.docker.image.rootfs.diff.tar") return "none";
  const match =
    /^application\/vnd\.(?:oci\.image\.layer\.v1|docker\.image\.rootfs\.diff)\.tar(?:\+(gzip|zstd))?$/
      .exec(mediaType);
  if (match === null) return null;
  return match[1] === undefined ? "none" : match[1] as "gzip" | "zstd";
}

/** This machine's platform in the words of the specification (Go's GOOS and GOARCH). */
export function hostPlatform(): Platform {
  return { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch };
}

/** @throws GodwitError `image.wrong_architecture`, naming what the image has. */
export function chooseManifest(ref: string, index: Index, wanted: Platform): Descriptor {
  const found = index.manifests.find((m) => m.platform !== undefined && runsOn(m.platform, wanted));
  if (found !== undefined) return found;
  const platforms = index.manifests.flatMap((m) =>
    m.platform === undefined ? [] : [platformText(m.platform)]
  );
  throw wrongArchitecture(ref, wanted, platforms.filter((p) => !p.startsWith("unknown/")));
}

/** @throws GodwitError `image.wrong_architecture` */
export function checkPlatform(ref: string, config: Config, wanted: Platform): void {
  // The specification requires both; images of old tools lack them and always were for linux on the builder's machine.
  const has = { os: config.os || wanted.os, architecture: config.architecture || wanted.architecture };
  if (!runsOn(has, wanted)) throw wrongArchitecture(ref, wanted, [platformText(has)]);
}

function runsOn(has: Platform, wanted: Platform): boolean {
  return has.os === wanted.os && has.architecture === wanted.architecture;
}

function platformText(p: Platform): string {
  return [p.os, p.architecture, ...(p.variant === undefined ? [] : [p.variant])].join("/");
}

function wrongArchitecture(ref: string, wanted: Platform, has: string[]): GodwitError {
  return new GodwitError(
    "image.wrong_architecture",
    `Cannot use image ${ref}: this host runs ${platformText(wanted)}, the image has ${
      has.join(", ") || "no platform"
    }`,
    { fault: "client", hint: `build it for ${platformText(wanted)}, or push an index that has it` },
  );
}

/** JSON of the given schema from bytes that came from outside. @throws GodwitError `image.bad_manifest` */
export function parseDocument<T>(ref: string, what: string, bytes: Uint8Array, schema: z.ZodType<T>): T {
  let reason: string;
  try {
    const parsed = schema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    if (parsed.success) return parsed.data;
    reason = z.prettifyError(parsed.error).slice(0, 400);
  } catch (error) {
    reason = String(error);
  }
  throw new GodwitError(
    "image.bad_manifest",
    `Cannot use image ${ref}: its ${what} cannot be read: ${reason}`,
    {
      fault: "client",
      hint: "build and push the image again; OCI image manifests and docker's schema 2 are understood",
    },
  );
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

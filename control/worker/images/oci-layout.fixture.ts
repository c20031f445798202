/**
 * Writes OCI image layouts for tests: any tar entries, also those that no honest tool writes, in any compression, for any
 * platform, with chosen damage. Also used by deploy/e2e/images for images that nobody wrote for this project.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { type Header, pack } from "tar-stream";

export interface FixtureEntry extends Partial<Header> {
  readonly name: string;
  readonly content?: string | Uint8Array;
}
export type Compression = "none" | "gzip" | "zstd";

export interface FixtureImage {
  /** In order; entries, or a finished plain tar. */
  readonly layers: readonly (readonly FixtureEntry[] | Uint8Array)[];
  /** @default "gzip" */
  readonly compression?: Compression;
  /** @default "amd64" */
  readonly architecture?: string;
  /** The `config` object in the specification's own names. */
  readonly config?: Record<string, unknown>;
  /** Changes the bytes of a packed layer after its digest was taken. */
  readonly damage?: (layer: Uint8Array, number: number) => Uint8Array;
  /** docker's media types (schema 2) in place of OCI's. */
  readonly docker?: boolean;
}

export interface FixtureManifest {
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string;
  readonly architecture: string;
}

/** Unix times of all entries, so that digests do not change from run to run. */
const MTIME = new Date(1_700_000_000_000);
const TAG_ANNOTATION = "org.opencontainers.image.ref.name";

export class OciLayout {
  readonly folder: string;
  readonly #tagged: Record<string, unknown>[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(folder: string): Promise<OciLayout> {
    await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
    await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    const layout = new OciLayout(folder);
    await layout.#writeIndex();
    return layout;
  }

  /** Writes an image without a tag. */
  async add(image: FixtureImage): Promise<FixtureManifest> {
    const compression = image.compression ?? "gzip";
    const architecture = image.architecture ?? "amd64";
    const layers = [];
    const diffIds: string[] = [];
    for (const [i, entries] of image.layers.entries()) {
      const tar = entries instanceof Uint8Array ? entries : await tarOf(entries);
      const packed = compress(tar, compression);
      diffIds.push(digestOf(tar));
      await this.writeBlob(digestOf(packed), image.damage?.(packed, i + 1) ?? packed);
      layers.push({
        mediaType: layerType(compression, image.docker),
        digest: digestOf(packed),
        size: packed.length,
      });
    }
    const config = encode({
      architecture,
      os: "linux",
      config: image.config ?? {},
      rootfs: { type: "layers", diff_ids: diffIds },
      history: diffIds.map(() => ({ created_by: "oci-layout.fixture.ts" })),
    });
    await this.writeBlob(digestOf(config), config);
    const mediaType = image.docker
      ? "application/vnd.docker.distribution.manifest.v2+json"
      : "application/vnd.oci.image.manifest.v1+json";
    const configType = image.docker
      ? "application/vnd.docker.container.image.v1+json"
      : "application/vnd.oci.image.config.v1+json";
    const manifest = encode({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: configType, digest: digestOf(config), size: config.length },
      layers,
    });
    await this.writeBlob(digestOf(manifest), manifest);
    return { digest: digestOf(manifest), size: manifest.length, mediaType, architecture };
  }

  /** An index over images of several platforms; answers its digest. */
  async addIndex(
    images: readonly FixtureManifest[],
  ): Promise<{ digest: string; size: number; mediaType: string }> {
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const manifests = images.map(({ architecture, ...descriptor }) => ({
      ...descriptor,
      platform: { os: "linux", architecture },
    }));
    const index = encode({ schemaVersion: 2, mediaType, manifests });
    await this.writeBlob(digestOf(index), index);
    return { digest: digestOf(index), size: index.length, mediaType };
  }

  async tag(tag: string, { digest, size, mediaType }: { digest: string; size: number; mediaType: string }) {
    this.#tagged.push({ digest, size, mediaType, annotations: { [TAG_ANNOTATION]: tag } });
    await this.#writeIndex();
  }

  async writeBlob(digest: string, bytes: Uint8Array): Promise<void> {
    await writeFile(this.blobFile(digest), bytes);
  }

  blobFile(digest: string): string {
    return join(this.folder, "blobs", "sha256", digest.slice("sha256:".length));
  }

  async #writeIndex(): Promise<void> {
    await writeFile(join(this.folder, "index.json"), encode({ schemaVersion: 2, manifests: this.#tagged }));
  }
}

/** A layout with one tagged image: what most tests need. */
export async function writeImage(folder: string, tag: string, image: FixtureImage): Promise<FixtureManifest> {
  const layout = await OciLayout.create(folder);
  const manifest = await layout.add(image);
  await layout.tag(tag, manifest);
  return manifest;
}

export async function tarOf(entries: readonly FixtureEntry[]): Promise<Uint8Array> {
  const tar = pack();
  const chunks: Uint8Array[] = [];
  const read = (async () => {
    for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  })();
  for (const { content, ...header } of entries) {
    const body = typeof content === "string" ? Buffer.from(content) : Buffer.from(content ?? "");
    await new Promise<void>((resolve, reject) => {
      const defaults = { mtime: MTIME, mode: header.type === "directory" ? 0o755 : 0o644, uid: 0, gid: 0 };
      tar.entry({ ...defaults, ...header, size: body.length } as Header, body, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
  tar.finalize();
  await read;
  return new Uint8Array(Buffer.concat(chunks));
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

function compress(tar: Uint8Array, compression: Compression): Uint8Array {
  if (compression === "gzip") return gzipSync(tar, { level: 1 });
  if (compression === "zstd") return zstdCompressSync(tar);
  return tar;
}

function layerType(compression: Compression, docker = false): string {
  if (docker) {
    return `application/vnd.docker.image.rootfs.diff.tar${compression === "none" ? "" : `.${compression}`}`;
  }
  return `application/vnd.oci.image.layer.v1.tar${compression === "none" ? "" : `+${compression}`}`;
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

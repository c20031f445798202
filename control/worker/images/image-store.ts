/**
 * The images of one worker. `ensure` is an image's way from reference to base (README.md has the picture); what is published
 * is remembered in memory and found again at the next open by its record. One store owns its folder.
 */
import { existsSync, mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import type { ImageConfig } from "../../contract/run-config.ts";
import type { ImageAnswer } from "../../contract/worker-api.ts";
import { BlobFolder } from "./blob-folder.ts";
import { chooseForRemoval, COLLECT_AGE_MS_MIN } from "./collect.ts";
import { layoutSource } from "./layout-source.ts";
import { hostPlatform, type Platform } from "./manifest.ts";
import { Permits } from "./permits.ts";
import { pullImage } from "./pull.ts";
import {
  BASE_FILE,
  folderName,
  type ImageRecord,
  type KeptImage,
  readImages,
  RECORD_FILE,
} from "./record.ts";
import { parseReference, type Reference } from "./reference.ts";
import { registriesConf } from "./registries-conf.ts";
import { type RegistryLimits, registryLimits, registrySource } from "./registry-source.ts";
import { type ResolvedImage, resolveImage } from "./resolve.ts";
import { checkSignatures, type SignaturePolicy, signaturePolicyOf } from "./signature.ts";
import type { ImageSource } from "./source.ts";

/** Pulls at once: each keeps a core busy with decompression. */
const PULLS_MAX = 2;
/** Calls of `ensure` that wait or work at once. */
const ENSURES_MAX = 256;
const BYTES_PER_MB = 1_048_576;
/** More than an agent meets; then signatures are looked at again. */
const BELIEVED_MAX = 4_096;
/** Of `cache_mb_max`: layers as they came, for the next image that has them too. */
const BLOBS_SHARE = 0.25;

export type ImageStoreOptions = WorkerConfig["images"] & {
  /** `STATE/images`: holds bases for good and work in progress; made where missing. On one file system. */
  readonly folder: string;
  /** A folder of this agent's own that must not survive a reboot. */
  readonly runFolder: string;
  /** @default registryLimits */
  readonly limits?: Partial<RegistryLimits>;
  /** @default hostPlatform() */
  readonly platform?: Platform;
  /** @default Date.now */
  readonly now?: () => number;
};

export interface FoundImage {
  /** Read-only erofs file, shared by all machines of this image. */
  readonly file: string;
  readonly config: ImageConfig;
  /** Of `file`. */
  readonly size_bytes: number;
}

export interface ImageStore {
  /**
   * The image of this reference, pulled, verified and made into a base where it is not here yet. Safe to call any number
   * of times at once. `onProgress` gets a line for people at each stage. Errors are listed in README.md.
   */
  ensure(ref: string, onProgress?: (message: string) => void): Promise<ImageAnswer>;
  /** The last word of a pull of this reference that is under way; null where there is none. */
  progress(ref: string): string | null;
  /** The base of a manifest digest, if it is here. Counts as a use. */
  find(digest: string): FoundImage | null;
  /** Removes bases, oldest use first, until `cache_mb_max` holds; never one of `inUse`. Answers what was removed. */
  collect(inUse: ReadonlySet<string>): Promise<string[]>;
}

export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  return await Promise.resolve(new Store(options));
}

class Store implements ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #place: { readonly images: string; readonly work: string; readonly run: string };
  readonly #platform: Platform;
  readonly #now: () => number;
  readonly #kept: Map<string, KeptImage>;
  readonly #pulls = new Map<string, Promise<ImageRecord>>();
  readonly #permits = new Permits(PULLS_MAX);
  readonly #blobs: BlobFolder;
  readonly #registriesFile: string;
  /** Images by digest whose signature by a key was seen since the agent started. */
  readonly #believed = new Set<string>();
  /** By reference, of pulls that are under way. */
  readonly #progress = new Map<string, string>();
  #ensuring = 0;

  constructor(options: ImageStoreOptions) {
    this.#options = options;
    this.#place = {
      images: join(options.folder, "bases"),
      work: join(options.folder, "work"),
      run: options.runFolder,
    };
    this.#platform = options.platform ?? hostPlatform();
    this.#now = options.now ?? Date.now;
    rmSync(this.#place.work, { recursive: true, force: true }); // what a killed agent left half made
    for (const folder of Object.values(this.#place)) mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#kept = readImages(this.#place.images);
    const blobBytesMax = options.cache_mb_max * BYTES_PER_MB * BLOBS_SHARE;
    this.#blobs = new BlobFolder(join(options.folder, "blobs"), blobBytesMax);
    this.#registriesFile = join(options.runFolder, "registries.conf");
    writeFileSync(this.#registriesFile, registriesConf(options), { mode: 0o600 });
  }

  async ensure(ref: string, tell: (message: string) => void = () => {}): Promise<ImageAnswer> {
    const onProgress = (message: string) => {
      this.#progress.set(ref, message);
      tell(message);
    };
    const reference = parseReference(ref);
    const digest = reference.kind === "registry" ? reference.digest : null;
    const policy = signaturePolicyOf(reference, this.#options.signatures);
    const known = digest === null ? null : this.#known(digest);
    if (known !== null && (policy === null || this.#isBelieved(known.digest, policy))) {
      return this.#answer(ref, known);
    }

    if (this.#ensuring >= ENSURES_MAX) throw busy(ref);
    this.#ensuring += 1;
    try {
      const source = this.#sourceOf(reference);
      onProgress(`resolving ${ref}`);
      const image = await resolveImage(ref, source, digest, this.#platform);
      if (policy !== null) await this.#believe(reference, image, source, policy);
      const record = this.#known(image.digest) ??
        await this.#once(
          image.digest,
          () => pullImage(ref, image, source, this.#place, this.#entryLimits(), this.#platform, onProgress),
        );
      return this.#answer(ref, record);
    } finally {
      this.#progress.delete(ref);
      this.#ensuring -= 1;
    }
  }

  progress(ref: string): string | null {
    return this.#progress.get(ref) ?? null;
  }

  #isBelieved(digest: string, policy: SignaturePolicy): boolean {
    return this.#believed.has(`${digest} ${policy.keyFile}`);
  }

  /** @throws GodwitError `image.unsigned` */
  async #believe(
    reference: Reference,
    image: ResolvedImage,
    source: ImageSource,
    policy: SignaturePolicy,
  ): Promise<void> {
    if (this.#isBelieved(image.digest, policy)) return;
    // cosign signs what a tag names: of an image for several platforms, the index.
    const digests = image.indexDigest === null ? [image.digest] : [image.digest, image.indexDigest];
    const signatures = await Promise.all(digests.map((digest) => source.readSignatures(digest)));
    checkSignatures(reference, digests, signatures.flat(), policy);
    if (this.#believed.size >= BELIEVED_MAX) this.#believed.clear();
    this.#believed.add(`${image.digest} ${policy.keyFile}`);
  }

  find(digest: string): FoundImage | null {
    const image = this.#kept.get(digest);
    if (image === undefined || !this.#used(image)) return null;
    const file = join(this.#place.images, folderName(digest), BASE_FILE);
    return { file, config: image.record.config, size_bytes: image.record.size_bytes };
  }

  async collect(inUse: ReadonlySet<string>): Promise<string[]> {
    const images = [...this.#kept.values()].map((k) => ({ ...k.record, usedAtMs: k.usedAtMs }));
    const bytesMax = this.#options.cache_mb_max * BYTES_PER_MB;
    const digests = chooseForRemoval(images, bytesMax, inUse, this.#now());
    const removed: string[] = [];
    for (const digest of digests) {
      // Asked for while the one before was removed: it belongs to a machine that is about to be created.
      if (this.#now() - (this.#kept.get(digest)?.usedAtMs ?? Infinity) < COLLECT_AGE_MS_MIN) continue;
      removed.push(digest);
      this.#kept.delete(digest);
      // Out of sight in one step, then removed: a kill in between leaves it to the next open.
      const gone = join(this.#place.work, `gone-${folderName(digest)}`);
      await rename(join(this.#place.images, folderName(digest)), gone);
      await rm(gone, { recursive: true, force: true });
    }
    return removed;
  }

  #known(digest: string): ImageRecord | null {
    const image = this.#kept.get(digest) ??
      [...this.#kept.values()].find((k) => k.record.index_digests.includes(digest));
    return image !== undefined && this.#used(image) ? image.record : null;
  }

  /** Whoever asks for the same digest meanwhile waits for the one pull. */
  #once(digest: string, pull: () => Promise<ImageRecord>): Promise<ImageRecord> {
    const running = this.#pulls.get(digest);
    if (running !== undefined) return running;
    const started = this.#permits.use(async () => {
      const record = await pull();
      this.#kept.set(digest, { record, usedAtMs: this.#now() });
      return record;
    }).finally(() => {
      this.#pulls.delete(digest);
      if (this.#pulls.size === 0) return this.#blobs.collect();
    });
    this.#pulls.set(digest, started);
    return started;
  }

  /** False where the image was taken away behind our back: it is forgotten, and can be pulled again. */
  #used(image: KeptImage): boolean {
    image.usedAtMs = this.#now();
    const seconds = image.usedAtMs / 1_000;
    const folder = join(this.#place.images, folderName(image.record.digest));
    if (!existsSync(join(folder, BASE_FILE)) || !existsSync(join(folder, RECORD_FILE))) {
      this.#kept.delete(image.record.digest);
      rmSync(folder, { recursive: true, force: true });
      return false;
    }
    utimesSync(join(folder, RECORD_FILE), seconds, seconds);
    return true;
  }

  #answer(ref: string, record: ImageRecord): ImageAnswer {
    return { ref, digest: record.digest, config: record.config, size_bytes: record.size_bytes };
  }

  #sourceOf(reference: Reference): ImageSource {
    if (reference.kind === "layout") return layoutSource(reference);
    return registrySource(reference, {
      authFile: this.#options.auth_file,
      insecureRegistries: this.#options.insecure_registries,
      limits: { ...registryLimits, ...this.#options.limits },
      registriesFile: this.#registriesFile,
      blobs: this.#blobs,
      runFolder: this.#place.run,
      tempFolder: this.#place.work,
    });
  }

  #entryLimits() {
    return { bytesMax: this.#options.image_mb_max * BYTES_PER_MB, filesMax: this.#options.files_max };
  }
}

function busy(ref: string): GodwitError {
  return new GodwitError(
    "image.busy",
    `Cannot pull image ${ref}: ${ENSURES_MAX} pulls are asked for already`,
    {
      fault: "us",
      retryable: true,
      hint: "try again in a moment",
    },
  );
}

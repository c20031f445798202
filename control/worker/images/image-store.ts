/** Signatures first; the stages follow in the next commits. */
import type { ImageConfig } from "../../contract/run-config.ts";
import type { ImageAnswer } from "../../contract/worker-api.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";

export type ImageStoreOptions = WorkerConfig["images"] & {
  /** `STATE/images`: holds bases for good and work in progress; made where missing. On one file system. */
  readonly folder: string;
  /** A folder of this agent's own that must not survive a reboot. */
  readonly runFolder: string;
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
   * The image of this reference, pulled, verified and made into a base where it is not here yet. Safe to call any
   * number of times at once. `onProgress` gets a line for people at each stage.
   */
  ensure(ref: string, onProgress?: (message: string) => void): Promise<ImageAnswer>;
  /** The base of a manifest digest, if it is here. Counts as a use. */
  find(digest: string): FoundImage | null;
  /** Removes bases, oldest use first, until `cache_mb_max` holds; never one of `inUse`. Answers what was removed. */
  collect(inUse: ReadonlySet<string>): Promise<string[]>;
}

export function openImageStore(_options: ImageStoreOptions): Promise<ImageStore> {
  return Promise.reject(new Error("image store: not there yet"));
}

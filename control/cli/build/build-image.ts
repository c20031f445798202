/** Signatures first; the stages follow in the next commits. */
export interface BuildOptions {
  readonly contextFolder: string;
  readonly dockerfile: string;
  /** Repository and tag without the registry's host: `my-app:deployment-1`. */
  readonly name: string;
  readonly registry: { readonly host: string; readonly authFile: string; readonly insecure: boolean };
  /** Buildah's own storage, emptied after the build; on a disk, not on tmpfs. */
  readonly storageFolder: string;
  readonly runFolder: string;
  /** Every line that buildah prints, as it comes. */
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface BuiltImage {
  /** `HOST/NAME@sha256:…`. */
  readonly ref: string;
  readonly digest: string;
  readonly size_bytes: number;
}

export function buildImage(_options: BuildOptions): Promise<BuiltImage> {
  return Promise.reject(new Error("buildImage: not there yet"));
}

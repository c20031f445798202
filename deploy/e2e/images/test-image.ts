/** An image in an OCI layout in a cache folder, ready to be pushed. */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pushLayout, type RegistryTarget } from "../../../control/cli/build/push-layout.ts";

/** Of an image that is alone in its layout. */
export const TAG = "v1";

export interface TestImage {
  readonly name: string;
  readonly layoutFolder: string;
  /** `oci:FOLDER:TAG`, for a worker on this machine. */
  readonly ref: string;
  /** Pushes it as `e2e/NAME:v1` and answers the reference by digest. */
  pushTo(registry: RegistryTarget): Promise<string>;
}

/** Made by one user, shared by all test runs of this machine; the key names all that goes in. */
export function cacheFolder(): string {
  const folder = join(tmpdir(), `godwit-e2e-images-${process.getuid?.() ?? 0}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** The folder of the layout of this name and key, written by `write` where it is not there yet. */
export async function cachedLayout(
  name: string,
  key: string,
  write: (layoutFolder: string, workFolder: string) => Promise<void>,
): Promise<string> {
  const layoutFolder = join(cacheFolder(), `${name}-${key}`);
  if (existsSync(layoutFolder)) return layoutFolder;
  const work = mkdtempSync(join(cacheFolder(), `work-`));
  try {
    await write(join(work, "layout"), work);
    // Another test run may have been faster; its layout is as good.
    if (!existsSync(layoutFolder)) renameSync(join(work, "layout"), layoutFolder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return layoutFolder;
}

export function testImage(name: string, layoutFolder: string, tag: string = TAG): TestImage {
  const source = `oci:${layoutFolder}:${tag}` as const;
  return {
    name,
    layoutFolder,
    ref: source,
    pushTo: async (registry) =>
      (await pushLayout({ source, name: `e2e/${name}:${TAG}`, registry, tempFolder: cacheFolder() })).ref,
  };
}

/** A short hash of what goes in. */
export function keyOf(...parts: (string | Uint8Array)[]): string {
  const hash = new Bun.CryptoHasher("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex").slice(0, 16);
}

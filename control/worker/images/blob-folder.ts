/**
 * Layers as registries have them, kept beyond their pull: what a broken pull has fetched, and what images share. Named by
 * digest and not believed for it: each pull hashes what it takes. Everything here can be lost at any time.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { link, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { hexOf } from "./source.ts";

const NAME = /^[0-9a-f]{64}$/;

export class BlobFolder {
  /** In skopeo's words the shared blob folder; it puts `sha256/HEX` there. */
  readonly folder: string;
  readonly #blobs: string;
  readonly #bytesMax: number;

  /** Removes what a killed skopeo left half written. */
  constructor(folder: string, bytesMax: number) {
    this.folder = folder;
    this.#blobs = join(folder, "sha256");
    this.#bytesMax = bytesMax;
    mkdirSync(this.#blobs, { recursive: true, mode: 0o700 });
    for (const place of [folder, this.#blobs]) {
      for (const name of readdirSync(place)) {
        if (place === folder ? name !== "sha256" : !NAME.test(name)) {
          rmSync(join(place, name), { force: true });
        }
      }
    }
  }

  fileOf(digest: string): string {
    return join(this.#blobs, hexOf(digest));
  }

  /** A name of the blob in another folder of the same disk, so that it stays there whatever is removed here. False: it is not here. */
  async linkTo(digest: string, folder: string): Promise<boolean> {
    const file = this.fileOf(digest);
    try {
      await link(file, join(folder, hexOf(digest)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
    const now = new Date();
    await utimes(file, now, now).catch(() => {}); // its last use, for `collect`; gone already is as good
    return true;
  }

  async remove(digest: string): Promise<void> {
    await rm(this.fileOf(digest), { force: true });
  }

  /** Of files that have no digest yet. */
  async bytesUnderWay(): Promise<number> {
    let bytes = 0;
    for (const place of [this.folder, this.#blobs]) {
      for (const name of await readdir(place)) {
        if (NAME.test(name) || name === "sha256") continue;
        bytes += await stat(join(place, name)).then((found) => found.size, () => 0);
      }
    }
    return bytes;
  }

  /** Removes blobs, oldest use first, down to the bound. Not while a pull is under way: skopeo counts on what it saw. */
  async collect(): Promise<void> {
    const blobs = [];
    for (const name of await readdir(this.#blobs)) {
      const found = await stat(join(this.#blobs, name)).catch(() => null);
      if (found !== null) blobs.push({ name, bytes: found.size, usedAtMs: found.mtimeMs });
    }
    let bytes = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
    for (const blob of blobs.sort((a, b) => a.usedAtMs - b.usedAtMs)) {
      if (bytes <= this.#bytesMax) return;
      await rm(join(this.#blobs, blob.name), { force: true });
      bytes -= blob.bytes;
    }
  }
}

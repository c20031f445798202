/**
 * Reads one layer once, streaming: digest and size as packed, digest unpacked (the config's diff_id), and each tar entry
 * put into the image's tree. A packed layer is written out plain beside this reading, for its files' content.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { PassThrough, Transform, type TransformCallback, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import { isDiskFull } from "./disk-full.ts";
import { type ImageTree, type LayerName, tooLarge } from "./image-tree.ts";
import type { Descriptor, LayerCompression } from "./manifest.ts";
import { TarReader } from "./tar-reader.ts";

const CHUNK_BYTES = 262_144;

export interface LayerScan {
  readonly ref: string;
  readonly file: string;
  readonly layer: LayerName;
  readonly descriptor: Descriptor;
  readonly compression: LayerCompression;
  /** Digest of the unpacked tar, from the image's config. */
  readonly diffId: string;
  readonly tree: ImageTree;
  /** Of one layer unpacked, headers and padding included: what stops a decompression bomb. */
  readonly bytesMax: number;
  /** Receives the plain tar; null where the layer is one. */
  readonly plainFile: string | null;
}

/** @throws GodwitError `image.digest_mismatch`, `image.layer_corrupt`, and what ImageTree throws. */
export async function scanLayer(scan: LayerScan): Promise<void> {
  const packed = new Meter(() => null);
  const plain = new Meter((bytes) => bytes > scan.bytesMax ? tooLarge(scan.ref, scan.bytesMax) : null);
  try {
    await pipeline(
      createReadStream(scan.file, { highWaterMark: CHUNK_BYTES }),
      packed,
      decompressor(scan.compression),
      plain,
      entriesOf(scan),
    );
  } catch (error) {
    if (error instanceof GodwitError || isDiskFull(error)) throw error;
    // A damaged blob mostly shows as a bad gzip stream first; what is wrong with it is its digest.
    await packed.finish(scan.file);
    checkPacked(scan, packed);
    throw corrupt(scan, messageOf(error));
  }
  checkPacked(scan, packed);
  if (plain.digest() !== scan.diffId) {
    throw new GodwitError(
      "image.digest_mismatch",
      `Cannot use image ${scan.ref}: layer ${scan.layer.number} unpacks to ${plain.digest()}, its config says ${scan.diffId}`,
      { fault: "client", hint: "build and push the image again" },
    );
  }
}

function checkPacked(scan: LayerScan, packed: Meter): void {
  const { digest, size } = scan.descriptor;
  if (packed.digest() === digest && packed.bytes === size) return;
  throw new GodwitError(
    "image.digest_mismatch",
    `Cannot use image ${scan.ref}: layer ${scan.layer.number} should be ${digest} with ${size} bytes, ` +
      `what came is ${packed.digest()} with ${packed.bytes} bytes`,
    {
      fault: "us",
      retryable: true,
      hint: "the registry's copy is damaged, or was on its way; push the image again",
    },
  );
}

function corrupt(scan: LayerScan, why: string): GodwitError {
  return new GodwitError(
    "image.layer_corrupt",
    `Cannot use image ${scan.ref}: layer ${scan.layer.number} (${scan.layer.digest}) is no ${
      scan.compression === "none" ? "" : `${scan.compression}-packed `
    }tar: ${why}`,
    { fault: "client", hint: "build and push the image again" },
  );
}

function decompressor(compression: LayerCompression) {
  if (compression === "gzip") return createGunzip({ chunkSize: CHUNK_BYTES });
  if (compression === "zstd") return createZstdDecompress({ chunkSize: CHUNK_BYTES });
  return new PassThrough();
}

/** The end of the line: entries into the tree, bytes into the plain file. */
function entriesOf(scan: LayerScan): Writable {
  const { tree, layer, plainFile } = scan;
  const tar = new TarReader((entry) => tree.admit(layer, entry));
  const file = plainFile === null ? null : open(plainFile, "wx", 0o600);
  const write = async (chunk: Uint8Array) => {
    const handle = await file;
    if (handle === null) return;
    for (let at = 0; at < chunk.length;) at += (await handle.write(chunk, at)).bytesWritten;
  };
  return new Writable({
    highWaterMark: CHUNK_BYTES,
    write(chunk: Uint8Array, _encoding, done) {
      try {
        tar.push(chunk);
      } catch (error) {
        done(error as Error);
        return;
      }
      write(chunk).then(() => done(), done);
    },
    final(done) {
      try {
        tar.end();
        done();
      } catch (error) {
        done(error as Error);
      }
    },
    destroy(error, done) {
      Promise.resolve(file).then((handle) => handle?.close()).then(() => done(error), done);
    },
  });
}

/** Counts and hashes what passes. */
class Meter extends Transform {
  readonly #hash = new Bun.CryptoHasher("sha256");
  readonly #check: (bytes: number) => Error | null;
  #digest: string | null = null;
  bytes = 0;

  constructor(check: (bytes: number) => Error | null) {
    super({ highWaterMark: 262_144 });
    this.#check = check;
  }

  override _transform(chunk: Uint8Array, _encoding: string, done: TransformCallback): void {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
    done(this.#check(this.bytes), chunk);
  }

  /** Hashes what was not read because a later stage failed. */
  async finish(file: string): Promise<void> {
    for await (const chunk of createReadStream(file, { start: this.bytes })) {
      this.#hash.update(chunk as Uint8Array);
      this.bytes += (chunk as Uint8Array).length;
    }
  }

  digest(): string {
    return this.#digest ??= `sha256:${this.#hash.digest("hex")}`;
  }
}

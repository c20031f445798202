/**
 * Reads one layer once, streaming: digest and size as packed, digest unpacked (the config's diff_id), and each tar entry
 * put before LayerEntries. Nothing is unpacked here. A zstd layer, which umoci 0.4 does not know, is written out plain
 * beside this reading.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { PassThrough, Transform, type TransformCallback, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { extract } from "tar-stream";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import { isDiskFull } from "./disk-full.ts";
import { type Entry, type LayerEntries, type LayerName, tooLarge } from "./layer-entries.ts";
import type { Descriptor, LayerCompression } from "./manifest.ts";

export interface LayerScan {
  readonly ref: string;
  readonly file: string;
  readonly layer: LayerName;
  readonly descriptor: Descriptor;
  readonly compression: LayerCompression;
  /** Digest of the unpacked tar, from the image's config. */
  readonly diffId: string;
  readonly entries: LayerEntries;
  /** Of one layer unpacked, headers and padding included: what stops a decompression bomb. */
  readonly bytesMax: number;
  /** Receives the plain tar, or null. */
  readonly plainFile: string | null;
}

/** @throws GodwitError `image.digest_mismatch`, `image.layer_corrupt`, and what LayerEntries throws. */
export async function scanLayer(scan: LayerScan): Promise<void> {
  const packed = new Meter(() => null);
  const plain = new Meter((bytes) => bytes > scan.bytesMax ? tooLarge(scan.ref, scan.bytesMax) : null);
  try {
    await pipeline(
      createReadStream(scan.file, { highWaterMark: 262_144 }),
      packed,
      decompressor(scan.compression),
      plain,
      scan.plainFile === null ? entriesOf(scan) : new Tee(createWriteStream(scan.plainFile), entriesOf(scan)),
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
  if (compression === "gzip") return createGunzip();
  if (compression === "zstd") return createZstdDecompress();
  return new PassThrough();
}

function entriesOf(scan: LayerScan): Writable {
  const tar = extract();
  tar.on("entry", (header, stream, next) => {
    stream.on("error", () => {}); // a destroyed extract tells its entry too; the extract's own error is the one heard
    try {
      scan.entries.admit(
        scan.layer,
        {
          name: header.name,
          type: header.type ?? "file",
          size: header.size ?? 0,
          linkname: header.linkname ?? null,
        } satisfies Entry,
      );
    } catch (error) {
      tar.destroy(error as Error);
      return;
    }
    stream.on("end", next);
    stream.resume();
  });
  // tar-stream's own Writable is streamx, which node's pipeline only half knows: an error must reach our callback.
  let failed: Error | null = null;
  let waiting: ((error?: Error | null) => void) | null = null;
  const settle = () => {
    const done = waiting;
    waiting = null;
    done?.(failed);
  };
  tar.on("error", (error: Error) => failed = error);
  for (const event of ["drain", "finish", "close"] as const) tar.on(event, settle);
  return new Writable({
    write(chunk: Uint8Array, _encoding, done) {
      if (failed !== null || tar.write(chunk)) done(failed);
      else waiting = done;
    },
    final(done) {
      if (failed !== null) return done(failed);
      waiting = done;
      tar.end(null);
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

/** Writes to both; done when both are. */
class Tee extends Writable {
  constructor(first: Writable, second: Writable) {
    super({
      write(chunk, _encoding, done) {
        let open = 2;
        const one = (error?: Error | null) => {
          if (error) done(error);
          else if (--open === 0) done();
        };
        first.write(chunk, one);
        second.write(chunk, one);
      },
      final(done) {
        first.end((error?: Error | null) => error ? done(error) : second.end(done));
      },
    });
    for (const stream of [first, second]) stream.on("error", (error) => this.destroy(error));
  }
}

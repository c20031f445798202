/**
 * A file's bytes without its empty blocks: a guest has touched only part of its memory, and the rest of the file that
 * Firecracker writes is zeros. For each window of WINDOW_BYTES a u16 says which of its blocks follow (bit 15: the first).
 */
import type { FileHandle } from "node:fs/promises";

const BLOCK_BYTES = 65_536;
const BLOCKS = 16;
export const WINDOW_BYTES = BLOCK_BYTES * BLOCKS;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export async function* packFile(file: FileHandle, bytes: number): AsyncGenerator<Buffer, void, void> {
  const window = Buffer.allocUnsafe(WINDOW_BYTES);
  for (let at = 0; at < bytes; at += WINDOW_BYTES) {
    const length = Math.min(WINDOW_BYTES, bytes - at);
    for (let filled = 0; filled < length;) {
      const { bytesRead } = await file.read(window, filled, length - filled, at + filled);
      if (bytesRead === 0) throw new Error(`it ends at ${at + filled} of ${bytes} bytes`);
      filled += bytesRead;
    }
    let map = 0;
    const blocks: Buffer[] = [];
    for (const [index, block] of blocksOf(window.subarray(0, length))) {
      if (block.equals(ZEROS.subarray(0, block.length))) continue;
      map |= 1 << (BLOCKS - 1 - index);
      blocks.push(block);
    }
    const head = Buffer.alloc(2);
    head.writeUInt16BE(map);
    yield head;
    // Taken before the window is filled again: a generator goes on only when it is asked to.
    yield* blocks;
  }
}

/** Empty blocks are left as holes. */
export async function unpackFile(file: FileHandle, bytes: number, packed: ByteReader): Promise<void> {
  await file.truncate(bytes);
  for (let at = 0; at < bytes; at += WINDOW_BYTES) {
    const length = Math.min(WINDOW_BYTES, bytes - at);
    const map = (await packed.take(2)).readUInt16BE();
    for (let index = 0; index * BLOCK_BYTES < length; index++) {
      if ((map & (1 << (BLOCKS - 1 - index))) === 0) continue;
      const from = index * BLOCK_BYTES;
      const block = await packed.take(Math.min(BLOCK_BYTES, length - from));
      for (let written = 0; written < block.length;) {
        written +=
          (await file.write(block, written, block.length - written, at + from + written)).bytesWritten;
      }
    }
  }
}

function* blocksOf(window: Buffer): Generator<[number, Buffer]> {
  for (let index = 0; index * BLOCK_BYTES < window.length; index++) {
    yield [index, window.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)];
  }
}

/** Exactly so many bytes at a time from pieces of any size. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(count: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    while (bytes < count) {
      if (this.#held.length === 0) {
        const { value, done } = await this.#source.next();
        if (done === true) throw new Error(`it ends ${count - bytes} bytes too early`);
        this.#held = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
        continue;
      }
      const piece = this.#held.subarray(0, count - bytes);
      this.#held = this.#held.subarray(piece.length);
      pieces.push(piece);
      bytes += piece.length;
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  /** Resolves once the source has ended, with nothing left over. */
  async end(): Promise<void> {
    if (this.#held.length > 0) throw new Error("it goes on after its end");
    for (;;) {
      const { value, done } = await this.#source.next();
      if (done === true) return;
      if (value.length > 0) throw new Error("it goes on after its end");
    }
  }
}

/**
 * A stream of bytes as an encrypted file: a header in the clear, then records, each AES-256-GCM of at most
 * RECORD_BYTES_MAX. The nonce counts the records, which is safe because a key seals one file only. Header, position and
 * whether a record is the last are authenticated with each record, so a file that was cut, spliced or changed is told
 * from a whole one, and no byte comes out before it was verified.
 *
 *   u32 header length, header (JSON), then per record: u32 (bit 31: the last; else its length), ciphertext, 16-byte tag
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { GodwitError } from "../../contract/errors.ts";

export const SEAL_KEY_BYTES = 32;
export const RECORD_BYTES_MAX = 1_048_576;
const HEADER_BYTES_MAX = 65_536;
const LENGTH_BYTES = 4;
const TAG_BYTES = 16;
/** The longest record, and a byte of what should not come after the last. */
const SLOT_BYTES = LENGTH_BYTES + RECORD_BYTES_MAX + TAG_BYTES + 1;
const NONCE_BYTES = 12;
const LAST = 0x8000_0000;

export function newSealKey(): Buffer {
  return randomBytes(SEAL_KEY_BYTES);
}

export interface SealLimits {
  /** More than this is not taken from the source. */
  readonly bytesMax: number;
}

/** Writes all that the source gives and syncs it to the disk. Resolves to the number of bytes taken. */
export async function sealFile(
  file: string,
  key: Buffer,
  header: unknown,
  source: AsyncIterable<Uint8Array>,
  { bytesMax }: SealLimits,
): Promise<number> {
  const handle = await open(file, "wx", 0o600);
  try {
    const head = Buffer.from(JSON.stringify(header));
    if (head.length > HEADER_BYTES_MAX) throw tooLong(file, "its header", head.length, HEADER_BYTES_MAX);
    await writeAll(handle, [uint32(head.length), head]);
    const seal = sealer(key, head);
    let bytes = 0;
    let held = Buffer.allocUnsafe(RECORD_BYTES_MAX);
    let filled = 0;
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw tooLong(file, "what it is to hold", bytes, bytesMax);
      for (let at = 0; at < chunk.length;) {
        const count = Math.min(RECORD_BYTES_MAX - filled, chunk.length - at);
        held.set(chunk.subarray(at, at + count), filled);
        at += count;
        filled += count;
        if (filled < RECORD_BYTES_MAX) continue;
        await writeAll(handle, seal(held, false));
        filled = 0;
      }
    }
    await writeAll(handle, seal(held.subarray(0, filled), true));
    held = Buffer.alloc(0);
    await handle.sync();
    return bytes;
  } finally {
    await handle.close();
  }
}

export interface SealedFile {
  /** Not yet verified: the first record does that. */
  readonly header: unknown;
  /** The bytes, each verified before it is given. @throws GodwitError `vmm.saved_state_damaged` */
  read(): AsyncGenerator<Buffer, void, void>;
  close(): Promise<void>;
}

/** @throws GodwitError `vmm.saved_state_damaged` */
export async function openSealed(file: string, key: Buffer): Promise<SealedFile> {
  const handle = await open(file, "r");
  try {
    const length = (await readExactly(handle, file, LENGTH_BYTES)).readUInt32BE();
    if (length > HEADER_BYTES_MAX) throw damaged(file, `its header would have ${length} bytes`);
    const head = await readExactly(handle, file, length);
    let header: unknown;
    try {
      header = JSON.parse(head.toString("utf8"));
    } catch {
      throw damaged(file, "its header is no JSON");
    }
    return { header, read: () => records(handle, file, key, head), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The next record is read while this one is opened and taken, into the other of two buffers. */
async function* records(
  handle: FileHandle,
  file: string,
  key: Buffer,
  head: Buffer,
): AsyncGenerator<Buffer, void, void> {
  const open = opener(key, head);
  let [slot, other] = [Buffer.allocUnsafe(SLOT_BYTES), Buffer.allocUnsafe(SLOT_BYTES)];
  let at = LENGTH_BYTES + head.length;
  let coming = fill(slot, handle, at);
  try {
    for (let index = 0;; index++) {
      const bytes = await coming;
      if (bytes < LENGTH_BYTES) throw damaged(file, "it was cut");
      const word = slot.readUInt32BE();
      const length = word % LAST;
      if (length > RECORD_BYTES_MAX) throw damaged(file, `a record would have ${length} bytes`);
      const end = LENGTH_BYTES + length + TAG_BYTES;
      if (bytes < end) throw damaged(file, "it was cut");
      const isLast = word >= LAST;
      if (isLast && bytes > end) throw damaged(file, "it goes on after its last record");
      const sealed = slot.subarray(LENGTH_BYTES, end);
      if (!isLast) coming = fill(other, handle, at += end);
      const plain = open(index, word, sealed);
      if (plain === null) throw damaged(file, `record ${index} is not what was written`);
      yield plain;
      if (isLast) return;
      [slot, other] = [other, slot];
    }
  } finally {
    // Whoever closes the file next must not close it under a read.
    await coming.catch(() => {});
  }
}

/** As many bytes as fit or are there. */
async function fill(slot: Buffer, handle: FileHandle, from: number): Promise<number> {
  for (let filled = 0;;) {
    const { bytesRead } = await handle.read(slot, filled, slot.length - filled, from + filled);
    filled += bytesRead;
    if (bytesRead === 0 || filled === slot.length) return filled;
  }
}

function sealer(key: Buffer, head: Buffer): (plain: Buffer, isLast: boolean) => Buffer[] {
  const headHash = hashOf(head);
  let index = 0;
  return (plain, isLast) => {
    const word = isLast ? plain.length + LAST : plain.length;
    const cipher = createCipheriv("aes-256-gcm", key, nonceOf(index++));
    cipher.setAAD(Buffer.concat([headHash, uint32(word)]));
    const sealed = cipher.update(plain);
    cipher.final();
    return [uint32(word), sealed, cipher.getAuthTag()];
  };
}

/**
 * On the event loop: a record takes a fifth of a millisecond of it, and WebCrypto's threads need three times that, most of
 * it for copies. Null where the record is not what was sealed.
 */
function opener(key: Buffer, head: Buffer): (index: number, word: number, sealed: Buffer) => Buffer | null {
  const headHash = hashOf(head);
  return (index, word, sealed) => {
    const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(index), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.concat([headHash, uint32(word)]));
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const plain = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
      return plain;
    } catch {
      return null; // All that it ever says is that the tag does not fit.
    }
  };
}

function hashOf(head: Buffer): Buffer {
  return createHash("sha256").update(head).digest();
}

function nonceOf(index: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(BigInt(index), NONCE_BYTES - 8);
  return nonce;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES);
  bytes.writeUInt32BE(value);
  return bytes;
}

async function writeAll(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      at += (await handle.write(piece, at, piece.length - at)).bytesWritten;
    }
  }
}

async function readExactly(handle: FileHandle, file: string, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await handle.read(bytes, at, length - at);
    if (bytesRead === 0) throw damaged(file, "it was cut");
    at += bytesRead;
  }
  return bytes;
}

function damaged(file: string, why: string): GodwitError {
  return new GodwitError("vmm.saved_state_damaged", `Cannot use ${file}: ${why}`, { fault: "us" });
}

function tooLong(file: string, what: string, bytes: number, bytesMax: number): GodwitError {
  return new GodwitError(
    "vmm.saved_state_too_long",
    `Cannot write ${file}: ${what} is longer than ${bytesMax} bytes (${bytes} so far)`,
    { fault: "us" },
  );
}

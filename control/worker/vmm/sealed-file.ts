/**
 * A stream of bytes as an encrypted file: a header in the clear, then records, each AES-256-GCM of at most
 * RECORD_BYTES_MAX. The nonce counts the records, which is safe because a key seals one file only. Header, position and
 * whether a record is the last are authenticated with each record, so a file that was cut, spliced or changed is told
 * from a whole one, and no byte comes out before it was verified.
 *
 *   u32 header length, header (JSON), then per record: u32 (bit 31: the last; else its length), ciphertext, 16-byte tag
 */
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { GodwitError } from "../../contract/errors.ts";

export const SEAL_KEY_BYTES = 32;
export const RECORD_BYTES_MAX = 1_048_576;
const HEADER_BYTES_MAX = 65_536;
const TAG_BYTES = 16;
const TAG_BITS = TAG_BYTES * 8;
/** Records that are read and verified before they are asked for; as many megabytes. */
const RECORDS_AHEAD = 8;
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
    const length = (await readExactly(handle, file, 4)).readUInt32BE();
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

/** Read and verified ahead of whoever takes them, so that disk, cipher and taker work at the same time. */
async function* records(
  handle: FileHandle,
  file: string,
  key: Buffer,
  head: Buffer,
): AsyncGenerator<Buffer, void, void> {
  const open = await opener(key, head);
  const ahead: Promise<{ plain: Buffer; isLast: boolean }>[] = [];
  let reading: Promise<unknown> = Promise.resolve();
  let index = 0, isEnd = false;
  const readOn = () => {
    const at = index++;
    const read = reading.then(() => isEnd ? null : readRecord(handle, file));
    reading = read.then((record) => isEnd ||= record === null || record.word >= LAST, () => isEnd = true);
    const record = read.then(async (found) => {
      if (found === null) return { plain: Buffer.alloc(0), isLast: true };
      return { plain: await open(at, found.word, found.sealed, file), isLast: found.word >= LAST };
    });
    record.catch(() => {}); // Met when it is waited for, unless nobody wants it any more.
    ahead.push(record);
  };
  for (;;) {
    while (ahead.length < RECORDS_AHEAD && !isEnd) readOn();
    const { plain, isLast } = await ahead.shift()!;
    yield plain;
    if (!isLast) continue;
    const { bytesRead } = await handle.read(Buffer.alloc(1), 0, 1);
    if (bytesRead > 0) throw damaged(file, "it goes on after its last record");
    return;
  }
}

async function readRecord(handle: FileHandle, file: string): Promise<{ word: number; sealed: Buffer }> {
  const word = (await readExactly(handle, file, 4)).readUInt32BE();
  const length = word % LAST;
  if (length > RECORD_BYTES_MAX) throw damaged(file, `a record would have ${length} bytes`);
  return { word, sealed: await readExactly(handle, file, length + TAG_BYTES) };
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

/** On threads of the runtime's pool: the event loop has sockets to feed meanwhile. */
async function opener(
  key: Buffer,
  head: Buffer,
): Promise<(index: number, word: number, sealed: Buffer, file: string) => Promise<Buffer>> {
  const cryptoKey = await crypto.subtle.importKey("raw", new Uint8Array(key), "AES-GCM", false, ["decrypt"]);
  const headHash = hashOf(head);
  return async (index, word, sealed, file) => {
    const additionalData = new Uint8Array(Buffer.concat([headHash, uint32(word)]));
    const algorithm = {
      name: "AES-GCM",
      iv: new Uint8Array(nonceOf(index)),
      additionalData,
      tagLength: TAG_BITS,
    };
    try {
      return Buffer.from(
        await crypto.subtle.decrypt(algorithm, cryptoKey, sealed as Uint8Array<ArrayBuffer>),
      );
    } catch {
      throw damaged(file, `record ${index} is not what was written`);
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
  const bytes = Buffer.alloc(4);
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

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ByteReader, packFile, unpackFile, WINDOW_BYTES } from "./sparse-stream.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "godwit-sparse-"))));
afterAll(() => rmSync(folder, { recursive: true }));

async function packed(content: Buffer): Promise<Buffer> {
  writeFileSync(join(folder, "from"), content);
  await using file = await open(join(folder, "from"));
  const pieces: Buffer[] = [];
  for await (const piece of packFile(file, content.length)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** In pieces that fit nothing. */
async function* inPieces(bytes: Buffer, size = 10_007) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test.each([
  ["nothing", 0, []],
  ["less than a block", 1_000, [10]],
  ["a hole between", WINDOW_BYTES * 3, [0, WINDOW_BYTES * 2 + 70_000]],
  ["a short last block", WINDOW_BYTES + 65_536 + 17, [WINDOW_BYTES + 65_536 + 16]],
  ["zeros alone", WINDOW_BYTES * 4, []],
])("what packFile() gives unpackFile() takes: %s", async (_, bytes, touched) => {
  const content = Buffer.alloc(bytes);
  for (const at of touched) content[at] = 7;
  const stream = await packed(content);
  expect(stream.length).toBeLessThanOrEqual(2 * Math.ceil(bytes / WINDOW_BYTES) + touched.length * 65_536);
  const target = join(folder, "to");
  {
    await using file = await open(target, "w");
    const reader = new ByteReader(inPieces(stream));
    await unpackFile(file, bytes, reader);
    await reader.end();
  }
  expect(readFileSync(target).equals(content)).toBe(true);
  if (touched.length === 0) expect(statSync(target).blocks).toBe(0);
});

test("ByteReader says where its source is too short or too long", async () => {
  const short = new ByteReader(inPieces(Buffer.alloc(5)));
  expect(short.take(8)).rejects.toThrow("it ends 3 bytes too early");
  const long = new ByteReader(inPieces(Buffer.alloc(5), 2));
  await long.take(3);
  expect(long.end()).rejects.toThrow("it goes on");
});

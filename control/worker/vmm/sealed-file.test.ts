import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newSealKey, openSealed, RECORD_BYTES_MAX, sealFile } from "./sealed-file.ts";

const HEADER = { schema: 1, what: "test" };
const LIMITS = { bytesMax: 10 * RECORD_BYTES_MAX };
let folder: string;
let names = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "godwit-sealed-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function* pieces(bytes: Buffer, each: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += each) yield bytes.subarray(at, at + each);
}

async function sealed(bytes: Buffer, each = 65_536): Promise<{ file: string; key: Buffer }> {
  const file = join(folder, `file-${names++}`);
  const key = newSealKey();
  expect(await sealFile(file, key, HEADER, pieces(bytes, each), LIMITS)).toBe(bytes.length);
  return { file, key };
}

async function unsealed(file: string, key: Buffer): Promise<Buffer> {
  const opened = await openSealed(file, key);
  try {
    expect(opened.header).toEqual(HEADER);
    const found: Buffer[] = [];
    for await (const piece of opened.read()) found.push(piece);
    return Buffer.concat(found);
  } finally {
    await opened.close();
  }
}

function random(bytes: number): Buffer {
  const random = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(random.subarray(at, at + 65_536));
  return random;
}

test("a sealed file gives back what it was made of, whatever the pieces", async () => {
  for (
    const [bytes, each] of [[0, 1], [1, 1], [RECORD_BYTES_MAX, 65_536], [2 * RECORD_BYTES_MAX + 7, 100_003]]
  ) {
    const content = random(bytes!);
    const { file, key } = await sealed(content, each!);
    expect((await unsealed(file, key)).equals(content)).toBe(true);
  }
});

test("a sealed file holds none of it in the clear", async () => {
  const { file } = await sealed(Buffer.from("a secret that must not be read"));
  expect(readFileSync(file).includes("secret")).toBe(false);
});

test("a sealed file that was cut, changed or lengthened anywhere, or has another key, is damaged", async () => {
  const { file, key } = await sealed(random(RECORD_BYTES_MAX + 1_000));
  const whole = readFileSync(file);
  const codeOf = (bytes: Buffer, with_ = key) => {
    writeFileSync(file, bytes);
    return unsealed(file, with_).then(() => null, (error) => error.code);
  };
  expect(await codeOf(whole)).toBeNull();
  for (const length of [2, 20, RECORD_BYTES_MAX, whole.length - 1_020, whole.length - 1]) {
    expect(await codeOf(whole.subarray(0, length))).toBe("vmm.saved_state_damaged");
  }
  for (const at of [40, 5_000, RECORD_BYTES_MAX + 200, whole.length - 1]) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    expect(await codeOf(changed)).toBe("vmm.saved_state_damaged");
  }
  expect(await codeOf(Buffer.concat([whole, Buffer.alloc(1)]))).toBe("vmm.saved_state_damaged");
  expect(await codeOf(whole, newSealKey())).toBe("vmm.saved_state_damaged");
});

test("a header that was changed is damaged at the first record", async () => {
  const { file, key } = await sealed(random(100));
  const bytes = readFileSync(file);
  bytes.write("tesT", bytes.indexOf("test"));
  writeFileSync(file, bytes);
  const opened = await openSealed(file, key);
  expect(await opened.read().next().then(() => null, (error) => error.code)).toBe("vmm.saved_state_damaged");
  await opened.close();
});

test("sealFile() takes no more than its bound", async () => {
  const file = join(folder, "long");
  const error = await sealFile(file, newSealKey(), HEADER, pieces(Buffer.alloc(100), 10), { bytesMax: 50 })
    .then(() => null, (e) => e);
  expect(error?.code).toBe("vmm.saved_state_too_long");
});

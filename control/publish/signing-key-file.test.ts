import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSigningKey } from "./signing-key-file.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-signing-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("loadSigningKey() makes the key once, readable by its owner alone", () => {
  const file = join(folder, "new", "publisher-key.pem");
  const first = loadSigningKey(file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(loadSigningKey(file).publicKey).toBe(first.publicKey);
});

test("loadSigningKey() refuses a file that holds no key, without quoting it", () => {
  const file = join(folder, "bad.pem");
  writeFileSync(file, "no key but a secret");
  expect(() => loadSigningKey(file)).toThrow(expect.objectContaining({ code: "publish.key_file_unusable" }));
  expect(() => loadSigningKey(file)).not.toThrow(/a secret/);
});

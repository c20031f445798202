import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadKeyPair } from "./key-file.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-key-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("loadKeyPair() makes the key once, readable by its owner alone", () => {
  const file = join(folder, "new", "key.pem");
  const first = loadKeyPair(file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file, "utf8")).toStartWith("-----BEGIN PRIVATE KEY-----");
  expect(loadKeyPair(file).privateKey.equals(first.privateKey)).toBe(true);
  expect(readdirSync(join(folder, "new"))).toEqual(["key.pem"]);
});

test("loadKeyPair() takes back rights that others have on the file", () => {
  const file = join(folder, "open.pem");
  loadKeyPair(file);
  chmodSync(file, 0o644);
  loadKeyPair(file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("loadKeyPair() in several processes at once ends with one key", async () => {
  const file = join(folder, "raced.pem");
  const script = `import { loadKeyPair } from ${JSON.stringify(join(import.meta.dir, "key-file.ts"))};
    const { publicKey } = loadKeyPair(${JSON.stringify(file)});
    console.log(publicKey.export({ type: "spki", format: "der" }).toString("hex"));`;
  const children = Array.from(
    { length: 4 },
    () => Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" }),
  );
  const keys = await Promise.all(children.map((child) => new Response(child.stdout).text()));
  expect(new Set(keys).size).toBe(1);
  expect(keys[0]!.length).toBeGreaterThan(80);
}, 30_000);

test("loadKeyPair() refuses a file that holds no Ed25519 key, without quoting it", () => {
  const file = join(folder, "bad.pem");
  writeFileSync(file, "no key but a secret");
  const error = (() => {
    try {
      loadKeyPair(file);
    } catch (e) {
      return e as Error;
    }
  })();
  expect(error).toMatchObject({ code: "access.key_file_unusable" });
  expect(error!.message).not.toContain("secret");
});

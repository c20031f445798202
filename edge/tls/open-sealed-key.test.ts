import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompactEncrypt } from "jose";
import { CertificateRow } from "../../control/contract/rows.ts";
import { newSealingKey, sealPrivateKey } from "../../control/contract/sealing.ts";
import { openerOf, openNothing, readOpeningKeys } from "./open-sealed-key.ts";

const pem = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";

test("a key that was sealed is opened by the same pair, by its kid among several, and by no other", async () => {
  const old = await newSealingKey("2026-01"), fresh = await newSealingKey("2026-02");
  const open = openerOf({ keys: [...fresh.open.keys, ...old.open.keys] });
  for (const { seal } of [old, fresh]) {
    const sealed = await sealPrivateKey(pem, seal);
    expect(CertificateRow.shape.sealed_key.parse(sealed)).toBe(sealed);
    expect(sealed).not.toContain("secret");
    expect(await open(sealed)).toBe(pem);
  }
  const sealed = await sealPrivateKey(pem, old.seal);
  await expect(openerOf(fresh.open)(sealed)).rejects.toThrow('no sealing key "2026-01" here');
  await expect(openNothing(sealed)).rejects.toThrow("no sealing key");
  const other = await newSealingKey("2026-01");
  await expect(openerOf(other.open)(sealed)).rejects.toThrow();
  await expect(open(sealed.slice(0, -2))).rejects.toThrow();
});

test("a JWE by another algorithm is refused, even with a key that would open it", async () => {
  const { open } = await newSealingKey("one");
  const sealed = await new CompactEncrypt(new TextEncoder().encode(pem))
    .setProtectedHeader({ alg: "dir", enc: "A256GCM", kid: "one" })
    .encrypt(new Uint8Array(32));
  await expect(openerOf(open)(sealed)).rejects.toThrow(/alg/);
});

test("readOpeningKeys() says which file is wrong, and nothing of what is in it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-opening-"));
  const file = join(folder, "keys.json");
  const { open } = await newSealingKey("one");
  writeFileSync(file, JSON.stringify(open));
  expect(await readOpeningKeys(file)).toEqual(open);
  for (const text of ["secret", '{"keys":[{"d":"secret"}]}', "{}"]) {
    writeFileSync(file, text);
    const error = await readOpeningKeys(file).then(() => null, (e) => e);
    expect(error.code).toBe("edge.sealing_key_unusable");
    expect(error.message).toContain(file);
    expect(error.message).not.toContain("secret");
  }
  rmSync(folder, { recursive: true });
});

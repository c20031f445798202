import { expect, test } from "bun:test";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import { parseReference } from "./reference.ts";
import { checkSignatures, signaturePolicyOf } from "./signature.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-signature-"));
const digest = `sha256:${"a".repeat(64)}`;
const reference = parseReference("registry.test/team/app:v1");
const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const keyFile = join(folder, "cosign.pub");
writeFileSync(keyFile, publicKey.export({ type: "spki", format: "pem" }));
const policy = { prefix: "registry.test/team", keyFile };

function signed(change: { digest?: string; name?: string; key?: typeof privateKey } = {}) {
  const payload = Buffer.from(JSON.stringify({
    critical: {
      identity: { "docker-reference": change.name ?? "registry.test/team/app" },
      image: { "docker-manifest-digest": change.digest ?? digest },
      type: "cosign container image signature",
    },
    optional: null,
  }));
  return { payload, signature: sign("sha256", payload, change.key ?? privateKey).toString("base64") };
}
function refusal(signatures: Parameters<typeof checkSignatures>[2]): string | null {
  try {
    checkSignatures(reference, [digest], signatures, policy);
    return null;
  } catch (error) {
    if (error instanceof GodwitError && error.code === "image.unsigned") return error.message;
    throw error;
  }
}

test("checkSignatures() passes where one signature is the key's, for this image under this name", () => {
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  expect(refusal([signed()])).toBeNull();
  expect(refusal([signed({ name: "registry.test/team/app:v1" })])).toBeNull();
  expect(refusal([signed({ key: other }), signed()])).toBeNull();
  expect(refusal([])).toContain("no signature");
  expect(refusal([signed({ key: other })])).toContain("another key");
  expect(refusal([signed({ digest: `sha256:${"b".repeat(64)}` })])).toContain("it is for sha256:b");
  expect(refusal([signed({ name: "registry.test/team/other" })])).toContain("registry.test/team/other");
  const changed = signed();
  expect(refusal([{ ...changed, payload: changed.payload.map((byte, i) => i === 9 ? byte ^ 1 : byte) }]))
    .toContain("another key");
});

test("checkSignatures() takes Ed25519 keys, and says which key file is none", () => {
  const pair = generateKeyPairSync("ed25519");
  const file = join(folder, "ed25519.pub");
  writeFileSync(file, pair.publicKey.export({ type: "spki", format: "pem" }));
  const { payload } = signed();
  const signature = sign(null, payload, pair.privateKey).toString("base64");
  checkSignatures(reference, [digest], [{ payload, signature }], { ...policy, keyFile: file });
  writeFileSync(file, "no key");
  expect(() => checkSignatures(reference, [digest], [signed()], { ...policy, keyFile: file })).toThrow(file);
});

test("signaturePolicyOf() takes the longest prefix that ends at a part of the name", () => {
  const policies = ["registry.test", "registry.test/team", "docker.io/library"].map((prefix) => ({
    prefix,
    public_key_file: `/${prefix}`,
  }));
  const prefixOf = (ref: string) => signaturePolicyOf(parseReference(ref), policies)?.prefix ?? null;
  expect(prefixOf("registry.test/team/app:v1")).toBe("registry.test/team");
  expect(prefixOf("registry.test/teammate/app")).toBe("registry.test");
  expect(prefixOf("nginx")).toBe("docker.io/library");
  expect(prefixOf("bitnami/nginx")).toBeNull();
  expect(() => prefixOf("oci:/layout:v1")).toThrow("layout on disk");
  expect(signaturePolicyOf(parseReference("oci:/layout:v1"), [])).toBeNull();
});

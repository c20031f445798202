import { expect, test } from "bun:test";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "./make-certificate.ts";

const DAY_MS = 86_400_000;
const notBeforeMs = Date.UTC(2_026, 0, 1);

test("makeCertificate() makes a certificate that verifies with its own key", () => {
  const { chain, key } = makeCertificate({
    names: ["default.test", "*.default.test"],
    notBeforeMs,
    notAfterMs: notBeforeMs + 90 * DAY_MS,
  });
  const certificate = new X509Certificate(chain);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(certificate.subjectAltName).toBe("DNS:default.test, DNS:*.default.test");
  expect(certificate.subject).toBe("CN=default.test");
  expect(Date.parse(certificate.validFrom)).toBe(notBeforeMs);
  expect(Date.parse(certificate.validTo)).toBe(notBeforeMs + 90 * DAY_MS);
  expect(certificate.ca).toBe(false);
});

test("makeCertificate() writes dates after 2049 and long names as RFC 5280 has them", () => {
  const name = `${"a".repeat(60)}.${"b".repeat(60)}.test`;
  const notAfterMs = Date.UTC(2_050, 5, 1);
  const certificate = new X509Certificate(makeCertificate({ names: [name], notBeforeMs, notAfterMs }).chain);
  expect(Date.parse(certificate.validTo)).toBe(notAfterMs);
  expect(certificate.subjectAltName).toBe(`DNS:${name}`);
  expect(certificate.subject).toBe(`CN=${name.slice(0, 64)}`);
});

test("makeCertificate() puts a critical acmeIdentifier into an answer of tls-alpn-01, as OpenSSL reads it", () => {
  const digest = createHash("sha256").update("token.thumbprint").digest();
  const { chain } = makeCertificate({
    names: ["a.test"],
    notBeforeMs,
    notAfterMs: notBeforeMs + DAY_MS,
    acmeIdentifier: digest,
  });
  const folder = mkdtempSync(join(tmpdir(), "godwit-certificate-"));
  writeFileSync(join(folder, "a.crt"), chain);
  const { stdout } = Bun.spawnSync(["openssl", "x509", "-in", join(folder, "a.crt"), "-noout", "-text"]);
  rmSync(folder, { recursive: true });
  const text = stdout.toString();
  expect(text).toMatch(/1\.3\.6\.1\.5\.5\.7\.1\.31: critical/);
  expect(text).toContain("X509v3 Basic Constraints: critical");
  const at = new X509Certificate(chain).raw.indexOf(Buffer.concat([Buffer.from([4, 34, 4, 32]), digest]));
  expect(at).toBeGreaterThan(0);
});

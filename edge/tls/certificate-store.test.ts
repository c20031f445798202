import { beforeAll, expect, test } from "bun:test";
import type { SecureContext } from "node:tls";
import { type CertificateRow, keyOf } from "../../control/contract/rows.ts";
import { newSealingKey, type SealingKey, sealPrivateKey } from "../../control/contract/sealing.ts";
import { CertificateStore } from "./certificate-store.ts";
import { makeCertificate } from "./make-certificate.ts";
import { openerOf, type OpenSealedKey } from "./open-sealed-key.ts";

const DAY_MS = 86_400_000;
const start = Date.UTC(2_026, 6, 1);
let seal: SealingKey;
let openKey: OpenSealedKey;

beforeAll(async () => {
  const keys = await newSealingKey("one");
  seal = keys.seal;
  openKey = openerOf(keys.open);
});

async function rowOf(
  name: string,
  fields: Partial<CertificateRow> & { names?: string[]; days?: number } = {},
): Promise<CertificateRow> {
  const { names = [name], days = 90, ...rest } = fields;
  const notAfterMs = start + days * DAY_MS;
  const made = makeCertificate({ names, notBeforeMs: start - DAY_MS, notAfterMs });
  return {
    name: name as CertificateRow["name"],
    source: "acme",
    chain: made.chain,
    sealed_key: await sealPrivateKey(made.key, seal),
    not_after_ms: notAfterMs,
    ...rest,
  };
}

const change = (row: CertificateRow) => ({ key: keyOf("certificates", row), row });

function store(options: { contextsMax?: number; openKey?: OpenSealedKey } = {}) {
  const unusable: string[] = [];
  const clock = { nowMs: start };
  const certificates = new CertificateStore({
    openKey: (sealed) => openKey(sealed),
    wallMs: () => clock.nowMs,
    onUnusable: (key, reason) => unusable.push(`${key}: ${reason}`),
    ...options,
  });
  const own = makeCertificate({ names: ["default.test"], notBeforeMs: start, notAfterMs: start + DAY_MS });
  certificates.setDefault(own.chain, own.key);
  const find = async (name: string): Promise<SecureContext | null> =>
    await certificates.find(name, "1.2-1.3");
  return { certificates, find, unusable, clock };
}

test("find() prefers the exact name, then the wildcard of one label, and has none for others", async () => {
  const { certificates, find } = store();
  certificates.apply([change(await rowOf("*.example.test")), change(await rowOf("a.example.test"))]);
  const exact = await find("a.example.test"), wild = await find("b.example.test");
  expect(exact).not.toBe(wild);
  expect(await find("c.example.test")).toBe(wild);
  for (const name of ["example.test", "x.b.example.test", "test", "other.test"]) {
    expect(await find(name)).toBe(null);
    expect(certificates.covers(name)).toBe(false);
  }
});

test("find() makes a context once, however many ask, and answers at once when it is there", async () => {
  let opened = 0;
  const { certificates } = store({
    openKey: (sealed) => {
      opened++;
      return openKey(sealed);
    },
  });
  certificates.apply([change(await rowOf("a.test"))]);
  const asked = Array.from({ length: 20 }, () => certificates.find("a.test", "1.2-1.3"));
  const [first] = await Promise.all(asked);
  expect(opened).toBe(1);
  expect(certificates.find("a.test", "1.2-1.3")).toBe(first!);
  expect(certificates.find("a.test", "1.3-1.3")).not.toBe(first!);
});

test("find() takes the custom certificate while it can be used, then the one by ACME", async () => {
  const { certificates, find, clock, unusable } = store();
  const acme = await rowOf("a.test");
  const custom = await rowOf("a.test", { source: "custom", days: 10 });
  certificates.apply([change(acme)]);
  const byAcme = await find("a.test");
  certificates.apply([change(custom)]);
  const own = await find("a.test");
  expect(own).not.toBe(byAcme);
  clock.nowMs = start + 11 * DAY_MS;
  expect(await find("a.test")).not.toBe(own);
  expect(unusable).toEqual([]);
  certificates.apply([{ key: "a.test/acme", row: null }]);
  expect(await find("a.test")).not.toBe(null);
});

test("find() passes over rows that cannot be used, and says why once", async () => {
  const { certificates, find, unusable } = store();
  const other = await newSealingKey("other");
  const good = await rowOf("a.test");
  const wrong: Partial<CertificateRow>[] = [
    { sealed_key: good.sealed_key },
    { sealed_key: await sealPrivateKey("key", other.seal) },
    { chain: "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n" },
  ];
  for (const fields of wrong) {
    certificates.apply([change(good), change(await rowOf("a.test", { source: "custom", ...fields }))]);
    expect(await find("a.test")).not.toBe(null);
    expect(await find("a.test")).not.toBe(null);
  }
  certificates.apply([change(await rowOf("a.test", { source: "custom", names: ["b.test"] }))]);
  await find("a.test");
  expect(unusable.length).toBe(4);
  expect(unusable[0]).toBe("a.test/custom: the key is not the certificate's");
  expect(unusable[1]).toContain('no sealing key "other" here');
  expect(unusable[3]).toBe("a.test/custom: the certificate is for other names");
});

test("find() falls back to the default where nothing of the name can be used", async () => {
  const { certificates, find } = store({ openKey: () => Promise.reject(new Error("no")) });
  certificates.apply([change(await rowOf("a.test"))]);
  expect(await find("a.test")).toBe(certificates.default("1.2-1.3"));
});

test("apply() swaps a certificate: the next handshake has the new one, also while the old one was being made", async () => {
  const { certificates, find } = store();
  certificates.apply([change(await rowOf("a.test"))]);
  const during = certificates.find("a.test", "1.2-1.3");
  certificates.apply([change(await rowOf("a.test"))]);
  const after = await find("a.test");
  expect(await during).not.toBe(after);
  expect(await find("a.test")).toBe(after);
  certificates.apply([{ key: "a.test/acme", row: null }]);
  expect(await find("a.test")).toBe(null);
  expect(certificates.sizes).toEqual({ names: 0, contexts: 0 });
});

test("the store keeps at most its bound of contexts, those used last", async () => {
  const { certificates, find } = store({ contextsMax: 4 });
  for (let i = 0; i < 6; i++) certificates.apply([change(await rowOf(`n${i}.test`))]);
  const first = await find("n0.test");
  for (let i = 1; i < 6; i++) {
    await find(`n${i}.test`);
    expect(await find("n0.test")).toBe(first);
  }
  expect(certificates.sizes.contexts).toBe(4);
  expect(certificates.evicted).toBe(2);
});

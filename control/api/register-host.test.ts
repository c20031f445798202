import { afterAll, beforeAll, expect, test } from "bun:test";
import { newSigningKeyPem, signingKey } from "../contract/signing.ts";
import { hostById } from "../store/hosts.ts";
import { NODE_TOKEN, TestApi } from "./api.fixture.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
}, 60_000);
afterAll(() => api.close());

function register(publisher_key?: string): Promise<Response> {
  const host = {
    id: "keyed",
    region: "dev",
    version: "0",
    vmm: "runc",
    acceleration: "none",
    cpus: 1,
    memory_mb: 1,
    memory_free_mb: 1,
    machines: 0,
  };
  const body = JSON.stringify({ host, url: "unix:/nonexistent", publisher_key });
  return api.request("/internal/v1/hosts/keyed", { method: "PUT", body }, NODE_TOKEN);
}

async function waiting(): Promise<unknown[]> {
  const rows = await api.store.read((sql) => sql`SELECT event FROM outbox ORDER BY id`);
  return rows.map((row: { event: { table: string; row: unknown } }) => row.event.row);
}

test("PUT /internal/v1/hosts/ID announces a host's key once, and keeps it where an agent names none", async () => {
  expect((await register()).status).toBe(204);
  expect(await waiting()).toEqual([]);
  const key = signingKey(newSigningKeyPem()).publicKey;
  for (const given of [key, key, undefined]) expect((await register(given)).status).toBe(204);
  expect(await waiting()).toEqual([{ owner: "worker:keyed", public_key: key }]);
});

test("PUT /internal/v1/hosts/ID refuses another key of a known host, and says what to do", async () => {
  const before = await api.store.read((sql) => hostById(sql, "keyed"));
  const answer = await register(signingKey(newSigningKeyPem()).publicKey);
  expect(answer.status).toBe(409);
  const { error } = await answer.json() as { error: { code: string; hint: string } };
  expect(error.code).toBe("host.publisher_key_changed");
  expect(error.hint).toContain("UPDATE hosts SET publisher_key = NULL WHERE id = 'keyed'");
  expect(await waiting()).toHaveLength(1);
  expect(await api.store.read((sql) => hostById(sql, "keyed"))).toEqual(before);

  await api.store.read((sql) => sql`UPDATE hosts SET publisher_key = NULL WHERE id = 'keyed'`);
  expect((await register(signingKey(newSigningKeyPem()).publicKey)).status).toBe(204);
  expect(await waiting()).toHaveLength(2);
});

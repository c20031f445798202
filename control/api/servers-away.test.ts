/** The API while a server that it needs is away. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Store } from "../store/database.ts";
import { outboxDepth } from "../store/outbox.ts";
import { makeApp } from "./app.ts";
import { TestApi } from "./api.fixture.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start({ ownRedis: true });
  await api.createApp("before");
}, 60_000);
afterAll(() => api.close());

describe("without Redis", () => {
  test(
    "changes are accepted and wait in the outbox; logs cannot be read, and /healthz says why",
    async () => {
      await api.stopRedis!();
      const depth = await api.store.read(outboxDepth);
      await api.createApp("after");
      expect(await api.store.read(outboxDepth)).toBe(depth + 2);
      for (const query of ["", "?follow=1"]) {
        const logs = await api.request(`/v1/apps/before/logs${query}`);
        expect(logs.status).toBe(503);
        expect(await logs.json()).toMatchObject({
          error: { code: "api.redis_unavailable", retryable: true },
        });
      }
      const health = await api.request("/healthz", {}, null);
      expect(health.status).toBe(503);
      expect(await health.json()).toEqual({ status: "degraded", postgres: "ok", redis: "unavailable" });
    },
    30_000,
  );
});

describe("without Postgres", () => {
  test("calls answer store.unavailable, which is worth a retry", async () => {
    const store = new Store("postgres://nobody:hidden@127.0.0.1:1/none");
    const app = makeApp({ ...api.parts, store });
    const response = await app.fetch(
      new Request("http://control/graphql", {
        method: "POST",
        headers: { authorization: `Bearer ${api.token}`, "content-type": "application/json" },
        body: JSON.stringify({ query: "{ viewer { subject } }" }),
      }),
    );
    expect(response.status).toBe(503);
    const text = await response.text();
    expect(JSON.parse(text).errors[0].extensions).toMatchObject({
      code: "store.unavailable",
      fault: "us",
      retryable: true,
    });
    expect(text).not.toContain("hidden");
    await store.close();
  });
});

describe("a body that is none", () => {
  test("is refused with a typed error", async () => {
    const headers = { "content-type": "application/json" };
    for (const body of ["not json", "[]", "{}", '{"query": 7}']) {
      const response = await api.request("/graphql", { method: "POST", headers, body });
      expect(response.status).toBeLessThan(500);
      const { errors } = await response.json() as { errors: { extensions: { code: string } }[] };
      expect([body, errors[0]!.extensions.code]).toEqual([body, "api.query_invalid"]);
    }
  });
});

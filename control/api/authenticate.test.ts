import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { issueToken } from "../access/token.ts";
import { revokeToken } from "../store/tokens-revoked.ts";
import { NODE_TOKEN, TestApi } from "./api.fixture.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
}, 60_000);
afterAll(() => api.close());

const VIEWER = "{ viewer { subject organizations { slug } } }";

describe("the API's door", () => {
  test("lets a token in, and says whom it speaks for", async () => {
    expect(await api.ask(VIEWER)).toEqual({
      viewer: { subject: "tester", organizations: [{ slug: "personal" }] },
    });
  });

  test("answers 401 with a typed error for a missing, expired, foreign or revoked token", async () => {
    const none = await api.request("/graphql", { method: "POST", body: "{}" }, null);
    expect(none.status).toBe(401);
    expect(none.headers.get("www-authenticate")).toBe('Bearer realm="godwit"');
    const { errors } = await none.json() as { errors: { extensions: unknown }[] };
    expect(errors[0]!.extensions).toMatchObject({
      code: "access.token_missing",
      fault: "client",
      retryable: false,
    });

    const expired = await api.issue({ expiresInS: 60, now: new Date(Date.now() - 3_600_000) });
    expect(await api.codeOf(VIEWER, {}, expired)).toBe("access.token_expired");
    const grant = { subject: "x", organizations: ["personal"], scopes: ["read" as const], expiresInS: 60 };
    const foreign = await issueToken(generateKeyPairSync("ed25519"), grant, new Date());
    expect(await api.codeOf(VIEWER, {}, foreign)).toBe("access.token_foreign");
    const revoked = await api.issue({});
    const { jti } = JSON.parse(Buffer.from(revoked.split(".")[1]!, "base64url").toString());
    await api.store.read((sql) => revokeToken(sql, jti, new Date(Date.now() + 60_000)));
    expect(await api.codeOf(VIEWER, {}, revoked)).toBe("access.token_revoked");
  });

  test("lets a token without the scope `write` read, and not change", async () => {
    const reader = await api.issue({ scopes: ["read"] });
    await api.ask(VIEWER, {}, reader);
    const create = `mutation { createApp(input: { name: "no" }) { app { id } } }`;
    expect(await api.codeOf(create, {}, reader)).toBe("access.scope_missing");
  });

  test("shows /metrics to the node token and to admins only", async () => {
    expect((await api.request("/metrics", {}, null)).status).toBe(401);
    expect((await api.request("/metrics", {}, await api.issue({ scopes: ["read"] }))).status).toBe(403);
    for (const token of [NODE_TOKEN, api.token]) {
      const response = await api.request("/metrics", {}, token);
      expect(response.status).toBe(200);
      expect(await response.text()).toContain("godwit_control_outbox_events 0");
    }
  });

  test("registers hosts by the node token only, and refuses nonsense", async () => {
    const put = (body: unknown, token: string) =>
      api.request("/internal/v1/hosts/h1", { method: "PUT", body: JSON.stringify(body) }, token);
    expect((await put({}, api.token)).status).toBe(401);
    const response = await put({ host: {} }, NODE_TOKEN);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "host.registration_invalid" } });
  });

  test("writes no token, query or variable into its log", async () => {
    api.logged.length = 0;
    await api.query("query ($name: String!) { app(name: $name) { id } }", { name: "logged-variable" });
    const log = api.logged.join("");
    expect(log).toContain('"path":"/graphql"');
    expect(log).not.toContain(api.token);
    expect(log).not.toContain("logged-variable");
  });

  test("answers /healthz and / without a token", async () => {
    const health = await api.request("/healthz", {}, null);
    expect(await health.json()).toEqual({ status: "ok", postgres: "ok", redis: "ok" });
    expect(await (await api.request("/", {}, null)).text()).toContain("Godwit");
    const missing = await api.request("/nowhere");
    expect(await missing.json()).toMatchObject({ error: { code: "api.not_found" } });
  });
});

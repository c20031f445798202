/** `access` on a real edge: tokens of every wrong kind, a real key server whose keys rotate and which goes away. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import { Services } from "../../control/contract/machine.ts";
import { RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";
import { KEYS_FRESH_MS, KEYS_STALE_MS_MAX, KeySet } from "./key-set.ts";
import { KeySets } from "./key-sets.ts";
import { PolicyCounts } from "./policy-counts.ts";
import { isPublic, KEYS_BYTES_MAX, readKeys } from "./read-keys.ts";

const ISSUER = "https://issuer.test/";
let t: TestEdge;
let server: Bun.Server<unknown>;
/** What the key server answers; `down` makes it fail. */
const issuer = {
  keys: [] as Record<string, unknown>[],
  down: false,
  asked: 0,
  hold: null as Promise<void> | null,
};
let keyServer: Bun.Server<unknown>;
let one: Signer, two: Signer;

interface Signer {
  readonly id: string;
  readonly algorithm: string;
  readonly key: CryptoKey;
  readonly jwk: Record<string, unknown>;
}
async function signer(id: string, algorithm = "ES256"): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = { ...await exportJWK(publicKey), kid: id, alg: algorithm, use: "sig" };
  return { id, algorithm, key: privateKey, jwk };
}
const nowS = () => Math.floor(Date.now() / 1_000);
function token(by: Signer, claims: JWTPayload = {}, header: Record<string, unknown> = {}): Promise<string> {
  const payload: JWTPayload = { iss: ISSUER, aud: "shop", scope: "read write", exp: nowS() + 300, ...claims };
  for (const [name, value] of Object.entries(payload)) if (value === null) delete payload[name];
  return new SignJWT(payload).setProtectedHeader({ alg: by.algorithm, kid: by.id, ...header }).sign(by.key);
}

beforeAll(async () => {
  [one, two] = await Promise.all([signer("one"), signer("two", "EdDSA")]);
  issuer.keys = [one.jwk];
  keyServer = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async () => {
      issuer.asked++;
      await issuer.hold;
      return issuer.down ? new Response("away", { status: 503 }) : Response.json({ keys: issuer.keys });
    },
  });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) =>
      new Response(`${request.headers.get("authorization")} ${(await request.bytes()).length}`),
  });
  t = await startTestEdge({ keysCooldownMs: 0, privateKeySets: true });
  const access = { issuer: ISSUER, audience: ["shop"], scopes: ["read"], jwks_url: keyServer.url.href };
  await app("shop", access);
});
afterAll(async () => {
  await t.stop();
  await server.stop(true);
  await keyServer.stop(true);
});

function app(name: string, access: object): Promise<void> {
  const ports = [{ port: 80, http_options: { access } }];
  return t.app(name, server.port!, {
    services: Services.parse([{ internal_port: server.port!, ports }]),
  });
}
async function ask(authorization: string | null, host = "shop.test") {
  const response = await fetch(`http://127.0.0.1:${t.port}/`, {
    headers: { host, ...(authorization === null ? {} : { authorization }) },
  });
  return {
    status: response.status,
    challenge: response.headers.get("www-authenticate"),
    text: await response.text(),
  };
}
const bearer = async (...how: Parameters<typeof token>) => `Bearer ${await token(...how)}`;

describe("access", () => {
  test("lets a good token pass and hands it to the machine", async () => {
    const authorization = await bearer(one);
    expect(await ask(authorization)).toEqual({ status: 200, challenge: null, text: `${authorization} 0` });
  });

  test("asks for a token where there is none, with 401 and a challenge", async () => {
    for (const authorization of [null, "Basic YTpi"]) {
      const answer = await ask(authorization);
      expect(answer.status).toBe(401);
      expect(answer.challenge).toBe('Bearer realm="shop.test"');
      expect(answer.text).toContain("edge.token_missing");
    }
  });

  test("refuses each wrong token and says why, with 401", async () => {
    const stranger = { ...await signer("one") };
    const secret = new TextEncoder().encode(JSON.stringify(one.jwk).padEnd(64));
    const hmac = await new SignJWT({ iss: ISSUER, aud: "shop", scope: "read", exp: nowS() + 300 })
      .setProtectedHeader({ alg: "HS256", kid: "one" }).sign(secret);
    const none = new UnsecuredJWT({ iss: ISSUER, aud: "shop", scope: "read", exp: nowS() + 300 }).encode();
    const [head, body, signature] = (await token(one)).split(".");
    const wrong: [string, string][] = [
      [await token(one, { exp: nowS() - 120 }), "expired"],
      [await token(one, { exp: null as unknown as number }), "no end"],
      [await token(one, { nbf: nowS() + 120 }), "not valid yet"],
      [await token(one, { iss: "https://other.test/" }), "another issuer"],
      [await token(one, { aud: "bank" }), "another audience"],
      [await token(stranger), "signature"],
      [await token(two), "not known"],
      [hmac, "algorithm"],
      [none, "algorithm"],
      [`${head}.${body}.${signature!.slice(0, -4)}AAAA`, "signature"],
      ["garbage", "malformed"],
      ["a.b.c", "malformed"],
      [`${head}.${body}.${signature} x`, "malformed"],
    ];
    for (const [text, why] of wrong) {
      const answer = await ask(`Bearer ${text}`);
      expect([why, answer.status]).toEqual([why, 401]);
      expect(answer.challenge).toContain('error="invalid_token"');
      expect(answer.challenge).toContain(why);
      expect(answer.text).not.toContain(text);
    }
  });

  test("forgives the clock's difference and no more", async () => {
    expect((await ask(await bearer(one, { exp: nowS() - 30 }))).status).toBe(200);
    expect((await ask(await bearer(one, { nbf: nowS() + 30 }))).status).toBe(200);
  });

  test("refuses a token without the scopes with 403 and names them", async () => {
    for (const claims of [{ scope: "write" }, { scope: "reader" }, { scope: null as unknown as string }]) {
      const answer = await ask(await bearer(one, claims));
      expect(answer.status).toBe(403);
      expect(answer.challenge).toContain('error="insufficient_scope", scope="read"');
    }
  });

  test("reads the keys again when a token names a new one, and drops what was withdrawn", async () => {
    expect((await ask(await bearer(two))).status).toBe(401);
    issuer.keys = [two.jwk];
    expect((await ask(await bearer(two))).status).toBe(200);
    expect((await ask(await bearer(one))).status).toBe(401);
    issuer.keys = [one.jwk, two.jwk];
    expect((await ask(await bearer(one))).status).toBe(200);
  });

  test("goes on with the keys it has while the issuer is away", async () => {
    issuer.down = true;
    expect((await ask(await bearer(one))).status).toBe(200);
    expect((await ask(await bearer(await signer("three")))).status).toBe(401);
    expect((await ask(await bearer(one))).status).toBe(200);
    const other = new URL("/other", keyServer.url).href;
    await app("nokeys", { issuer: ISSUER, jwks_url: other });
    const answer = await ask(await bearer(one), "nokeys.test");
    expect(answer.status).toBe(503);
    expect(answer.text).toContain("edge.keys_unavailable");
    issuer.down = false;
    expect((await ask(await bearer(one), "nokeys.test")).status).toBe(200);
  });

  test("takes keys that stand in the options, and tries each where a token names none", async () => {
    const [first, second] = await Promise.all([signer("x"), signer("y")]);
    const jwks = { keys: [first, second].map(({ jwk: { kid: _, ...jwk } }) => jwk) };
    await app("inline", { issuer: ISSUER, jwks });
    expect((await ask(await bearer(second, {}, { kid: undefined }), "inline.test")).status).toBe(200);
    const stranger = await signer("z");
    expect((await ask(await bearer(stranger, {}, { kid: undefined }), "inline.test")).status).toBe(401);
  });

  test("holds the request while keys are read: its body waits, pipelined ones stay in order, a lost client is no fault", async () => {
    const held = new URL("/held", keyServer.url).href;
    await app("held", { issuer: ISSUER, jwks_url: held });
    let release = () => {};
    issuer.hold = new Promise((resolve) => release = resolve);
    const asked = issuer.asked;
    const authorization = await bearer(one);
    const body = "b".repeat(100_000);
    const client = await RawClient.open(t.port);
    const head = `Host: held.test\r\nAuthorization: ${authorization}\r\n`;
    client.send(`POST /1 HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n`).send(body);
    client.send(`GET /2 HTTP/1.1\r\n${head}\r\n`);
    client.send(`GET /3 HTTP/1.1\r\nHost: held.test\r\n\r\n`);
    const lost = await RawClient.open(t.port);
    lost.send(`POST /1 HTTP/1.1\r\n${head}Content-Length: 10\r\n\r\n`);
    await until(() => issuer.asked > asked);
    await until(() => t.edge.relay.clients.size >= 2);
    const clients = t.edge.relay.clients.size;
    lost.close();
    await until(() => t.edge.relay.clients.size < clients);
    expect(client.text).toBe("");
    release();
    issuer.hold = null;
    await client.has("edge.token_missing");
    const statuses = client.text.match(/HTTP\/1\.1 \d+/g);
    expect(statuses).toEqual(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 401"]);
    expect(client.text.indexOf(" 100000")).toBeLessThan(client.text.lastIndexOf(`${authorization} 0`));
    expect(issuer.asked).toBe(asked + 1);
    expect(t.edge.metrics.faults).toBe(0);
    client.close();
  });
});

describe("KeySet", () => {
  test("reads at most once in a cooldown, serves old keys while it reads again, and gives them up after a day", async () => {
    let nowMs = 0, reads = 0, fails = false;
    const set = new KeySet({
      nowMs: () => nowMs,
      read: () => {
        reads++;
        return fails ? Promise.reject(new Error("away")) : Promise.resolve({ keys: [] });
      },
    });
    const first = await set.keys();
    expect(await set.again(first)).toBe(null);
    expect(reads).toBe(1);
    nowMs += 30_000;
    expect(await set.again(first)).not.toBe(null);
    expect(reads).toBe(2);
    fails = true;
    nowMs += KEYS_FRESH_MS;
    await set.keys();
    expect(reads).toBe(3);
    await set.keys();
    expect(reads).toBe(3);
    nowMs += KEYS_STALE_MS_MAX;
    expect(set.keys()).rejects.toThrow("Cannot read the keys");
    fails = false;
    nowMs += 30_000;
    await set.keys();
  });

  test("of many URLs only so many are kept", () => {
    const counts = new PolicyCounts();
    const sets = new KeySets({ nowMs: () => 0, privately: true, counts });
    for (let i = 0; i < 1_500; i++) sets.of(`http://127.0.0.1:1/${i}`);
    expect(sets.size).toBe(1_024);
    expect(counts.keySetsForgotten).toBe(476);
  });
});

describe("readKeys()", () => {
  test("asks only HTTPS at public addresses", async () => {
    const inside = [
      "http://keys.test/",
      "https://127.0.0.1/",
      "https://[::1]/",
      "https://169.254.169.254/latest",
      "https://localhost/",
    ];
    for (const url of inside) await expect(readKeys(url, false)).rejects.toThrow("is not asked");
  });

  test("tells public addresses from all others", () => {
    for (const address of ["1.1.1.1", "203.0.114.1", "2606:4700::1111"]) expect(isPublic(address)).toBe(true);
    const others = [
      "10.1.2.3",
      "172.31.0.1",
      "192.168.0.1",
      "100.64.0.1",
      "169.254.1.1",
      "0.0.0.0",
      "224.0.0.1",
    ];
    const others6 = [
      "::1",
      "::ffff:10.0.0.1",
      "fe80::1",
      "fd00::1",
      "2002:7f00:1::",
      "64:ff9b::7f00:1",
      "::",
    ];
    for (const address of [...others, ...others6, "nothing"]) {
      expect([address, isPublic(address)]).toEqual([address, false]);
    }
  });

  test("follows no redirect and takes no more than it can hold", async () => {
    const odd = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: ({ url }) => {
        if (url.endsWith("/redirect")) return Response.redirect(keyServer.url.href);
        if (url.endsWith("/large")) return new Response("x".repeat(KEYS_BYTES_MAX + 1));
        return url.endsWith("/many") ? Response.json({ keys: Array(33).fill({}) }) : new Response("{}");
      },
    });
    for (const path of ["/redirect", "/large", "/many", "/none"]) {
      await expect(readKeys(new URL(path, odd.url).href, true)).rejects.toThrow();
    }
    await odd.stop(true);
  });
});

import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import { requireScope } from "./permission.ts";
import { AUDIENCE, ISSUER, issueToken, TOKEN_CHARS_MAX, verifyToken } from "./token.ts";

const keys = generateKeyPairSync("ed25519");
const now = new Date("2026-08-01T12:00:00Z");
const grant = { subject: "ann", organizations: ["personal"], scopes: ["read" as const], expiresInS: 600 };
const never = (_: string) => Promise.resolve(false);
const later = (seconds: number) => new Date(now.getTime() + seconds * 1_000);
const verify = (token: string, at = now, isRevoked = never) => verifyToken(keys, token, at, isRevoked);

/** A token that is ours but for one thing. */
function forged(change: (jwt: SignJWT) => SignJWT, claims: Record<string, unknown> = {}): Promise<string> {
  const nowS = now.getTime() / 1_000;
  const jwt = new SignJWT({ organizations: ["personal"], scopes: ["read"], ...claims })
    .setProtectedHeader({ alg: "EdDSA" }).setIssuer(ISSUER).setAudience(AUDIENCE).setSubject("ann").setJti(
      "j",
    )
    .setExpirationTime(nowS + 600);
  return change(jwt).sign(keys.privateKey);
}

describe("verifyToken()", () => {
  test("gives back whom and what the token was issued for", async () => {
    const principal = await verify(await issueToken(keys, grant, now));
    expect(principal).toMatchObject({ subject: "ann", organizations: ["personal"], scopes: ["read"] });
    expect(principal.tokenId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("allows for clocks that differ by half a minute, and then says when it expired", async () => {
    const token = await issueToken(keys, grant, now);
    await verify(token, later(600 + 29));
    await expect(verify(token, later(600 + 31))).rejects.toMatchObject({
      code: "access.token_expired",
      fault: "client",
      message: expect.stringContaining("2026-08-01T12:10:00.000Z"),
    });
  });

  test("refuses a token that another key signed", async () => {
    const token = await issueToken(generateKeyPairSync("ed25519"), grant, now);
    await expect(verify(token)).rejects.toMatchObject({ code: "access.token_foreign" });
  });

  test("refuses a token whose claims were changed after signing", async () => {
    const [head, , signature] = (await issueToken(keys, grant, now)).split(".");
    const claims = { sub: "ann", jti: "j", organizations: ["other"], scopes: ["admin"], exp: 9_999_999_999 };
    const body = Buffer.from(JSON.stringify({ ...claims, iss: ISSUER, aud: AUDIENCE })).toString("base64url");
    await expect(verify(`${head}.${body}.${signature}`)).rejects.toMatchObject({
      code: "access.token_foreign",
    });
  });

  test("refuses a token for another audience or of another issuer", async () => {
    const wrong = { code: "access.token_wrong_audience" };
    await expect(verify(await forged((jwt) => jwt.setAudience("else")))).rejects.toMatchObject(wrong);
    await expect(verify(await forged((jwt) => jwt.setIssuer("else")))).rejects.toMatchObject(wrong);
  });

  test("refuses a revoked token, and asks only about tokens that are ours", async () => {
    const asked: string[] = [];
    const revoked = (id: string) => {
      asked.push(id);
      return Promise.resolve(true);
    };
    const token = await issueToken(keys, grant, now);
    await expect(verify(token, now, revoked)).rejects.toMatchObject({ code: "access.token_revoked" });
    const foreign = await issueToken(generateKeyPairSync("ed25519"), grant, now);
    await verify(foreign, now, revoked).then(() => expect.unreachable(), () => {});
    expect(asked).toHaveLength(1);
  });

  test("refuses what is no token: none, HMAC with the public key, no expiry, odd claims, too long", async () => {
    const malformed = { code: "access.token_malformed" };
    const unsigned = [{ alg: "none" }, { sub: "ann" }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".") + ".";
    const publicPem = keys.publicKey.export({ type: "spki", format: "pem" });
    const hmac = await new SignJWT({ sub: "ann" }).setProtectedHeader({ alg: "HS256" })
      .sign(Buffer.from(publicPem));
    await expect(verify("")).rejects.toMatchObject(malformed);
    await expect(verify("a.b.c")).rejects.toMatchObject(malformed);
    await expect(verify(unsigned)).rejects.toMatchObject(malformed);
    await expect(verify(hmac)).rejects.toMatchObject(malformed);
    await expect(verify(await forged((jwt) => jwt, { scopes: ["root"] }))).rejects.toMatchObject(malformed);
    await expect(verify("x".repeat(TOKEN_CHARS_MAX + 1))).rejects.toMatchObject(malformed);
    const eternal = new SignJWT({ sub: "ann", jti: "j" }).setProtectedHeader({ alg: "EdDSA" })
      .setIssuer(ISSUER).setAudience(AUDIENCE);
    await expect(verify(await eternal.sign(keys.privateKey))).rejects.toMatchObject(malformed);
  });
});

test("requireScope() refuses a token without the scope, and says which", async () => {
  const principal = await verify(await issueToken(keys, grant, now));
  requireScope(principal, "read");
  expect(() => requireScope(principal, "write")).toThrow(/ann: it lacks the scope "write", has read/);
});

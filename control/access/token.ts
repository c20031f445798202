/**
 * Access tokens: JWTs signed with Ed25519 (RFC 7519, RFC 8037). A token names its subject, the organisations it may act
 * in by their slugs, and its scopes. Verifying needs the public key and, for revocation, one look-up by the token's id.
 */
import { errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { GodwitError } from "../contract/errors.ts";
import { OrgSlug } from "../contract/names.ts";
import type { KeyPair } from "./key-file.ts";

export const ISSUER = "godwit";
export const AUDIENCE = "godwit-api";
/** Hosts' clocks may differ by this much. */
export const CLOCK_SKEW_S = 30;
export const TOKEN_CHARS_MAX = 8_192;

/** `read` queries, `write` mutations, `admin` the platform's own endpoints (/metrics). */
export const Scope = z.enum(["read", "write", "admin"]);
export type Scope = z.infer<typeof Scope>;

const Claims = z.object({
  sub: z.string().min(1).max(200),
  jti: z.string().min(1).max(64),
  organizations: z.array(OrgSlug).max(100),
  scopes: z.array(Scope).max(10),
});

export interface Principal {
  readonly subject: string;
  readonly tokenId: string;
  /** Slugs. */
  readonly organizations: readonly string[];
  readonly scopes: readonly Scope[];
}

export interface TokenGrant {
  readonly subject: string;
  readonly organizations: readonly string[];
  readonly scopes: readonly Scope[];
  readonly expiresInS: number;
}

export async function issueToken(keys: KeyPair, grant: TokenGrant, now: Date): Promise<string> {
  const nowS = Math.floor(now.getTime() / 1_000);
  return await new SignJWT({ organizations: grant.organizations, scopes: grant.scopes })
    .setProtectedHeader({ alg: "EdDSA", typ: "JWT" })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject(grant.subject)
    .setJti(crypto.randomUUID())
    .setIssuedAt(nowS)
    .setExpirationTime(nowS + grant.expiresInS)
    .sign(keys.privateKey);
}

/** @param isRevoked Asked only about tokens whose signature is ours. */
export async function verifyToken(
  keys: Pick<KeyPair, "publicKey">,
  token: string,
  now: Date,
  isRevoked: (tokenId: string) => Promise<boolean>,
): Promise<Principal> {
  if (token.length > TOKEN_CHARS_MAX) throw refused("access.token_malformed", "it is too long");
  const claims = await verifiedClaims(keys, token, now);
  if (await isRevoked(claims.jti)) throw refused("access.token_revoked", "it was revoked");
  return {
    subject: claims.sub,
    tokenId: claims.jti,
    organizations: claims.organizations,
    scopes: claims.scopes,
  };
}

async function verifiedClaims(keys: Pick<KeyPair, "publicKey">, token: string, now: Date) {
  try {
    const { payload } = await jwtVerify(token, keys.publicKey, {
      algorithms: ["EdDSA"],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: CLOCK_SKEW_S,
      currentDate: now,
      requiredClaims: ["exp", "sub", "jti"],
    });
    return Claims.parse(payload);
  } catch (error) {
    throw reasonOf(error);
  }
}

function reasonOf(error: unknown): GodwitError {
  if (error instanceof errors.JWTExpired) {
    const expired = new Date((error.payload.exp ?? 0) * 1_000).toISOString();
    return refused("access.token_expired", `it expired at ${expired}`);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return refused("access.token_foreign", "it was not signed by this control plane");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud" || error.claim === "iss") {
      return refused("access.token_wrong_audience", `its "${error.claim}" is not this API's`);
    }
    if (error.claim === "nbf") return refused("access.token_not_yet_valid", "its time has not come");
  }
  return refused("access.token_malformed", "it is not an access token of Godwit", error);
}

function refused(code: string, why: string, cause?: unknown): GodwitError {
  return new GodwitError(code, `Cannot accept the access token: ${why}`, {
    fault: "client",
    hint: "Get a new token from the operator, who issues them with control/access/issue.ts.",
    ...(cause === undefined ? {} : { cause }),
  });
}

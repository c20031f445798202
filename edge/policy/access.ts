/**
 * Who may use a service: requests need a bearer token that one of its issuer's keys signed (RFC 6750, 7519, 8725). The
 * token goes on to the machine, which can read from it who asks. Nothing about a token is logged.
 */
import {
  createLocalJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyOptions,
} from "jose";
import type { HttpAccess } from "../../control/contract/machine.ts";
import { GodwitError } from "../../control/contract/errors.ts";
import { bearerToken } from "./bearer-token.ts";
import type { KeyLookup } from "./key-set.ts";
import type { KeySets } from "./key-sets.ts";

/** Signatures of a private key alone: `none` proves nothing, and who can check an HMAC can make one (RFC 8725). */
export const ALGORITHMS = [
  "EdDSA",
  "Ed25519",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
];

/** Why a request may not go on, in the words of RFC 6750 section 3.1. */
export type AccessVerdict =
  | { readonly kind: "granted" }
  | { readonly kind: "token_missing" }
  | { readonly kind: "token_invalid"; readonly reason: string }
  | { readonly kind: "scope_missing" }
  | { readonly kind: "keys_unavailable"; readonly cause: unknown };

const GRANTED: AccessVerdict = { kind: "granted" };
const TOKEN_MISSING: AccessVerdict = { kind: "token_missing" };
const SCOPE_MISSING: AccessVerdict = { kind: "scope_missing" };

export class Access {
  readonly #options: HttpAccess;
  readonly #keySets: KeySets;
  readonly #ownKeys: KeyLookup | null;
  readonly #verify: JWTVerifyOptions;
  /** For `WWW-Authenticate`; empty where none are needed. */
  readonly scope: string;

  constructor(options: HttpAccess, keySets: KeySets) {
    this.#options = options;
    this.#keySets = keySets;
    this.#ownKeys = options.jwks === undefined ? null : localKeys(options.jwks as unknown as JSONWebKeySet);
    this.#verify = {
      issuer: options.issuer,
      algorithms: ALGORITHMS,
      clockTolerance: options.clock_skew_s,
      // A token without an end would outlive whatever its bearer was trusted for.
      requiredClaims: ["exp"],
      ...(options.audience.length === 0 ? {} : { audience: options.audience }),
    };
    this.scope = options.scopes.join(" ");
  }

  /** @param fields the request's lines; never rejects */
  async check(fields: string, wallMs: number): Promise<AccessVerdict> {
    const token = bearerToken(fields);
    if (token === null) return TOKEN_MISSING;
    if (token === "malformed") return invalid("the Authorization field is malformed");
    try {
      const payload = await this.#payload(token, wallMs);
      return this.#hasScopes(payload) ? GRANTED : SCOPE_MISSING;
    } catch (error) {
      if (error instanceof GodwitError) return { kind: "keys_unavailable", cause: error };
      return invalid(reasonOf(error));
    }
  }

  async #payload(token: string, wallMs: number): Promise<JWTPayload> {
    if (this.#ownKeys !== null) return await this.#verified(token, this.#ownKeys, wallMs);
    const set = this.#keySets.of(this.#options.jwks_url ?? "");
    const keys = await set.keys();
    try {
      return await this.#verified(token, keys, wallMs);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const again = await set.again(keys);
      if (again === null) throw error;
      return await this.#verified(token, again, wallMs);
    }
  }

  async #verified(token: string, keys: KeyLookup, wallMs: number): Promise<JWTPayload> {
    const options = { ...this.#verify, currentDate: new Date(wallMs) };
    try {
      return (await jwtVerify(token, keys, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      // A token without a key id: each key that fits is tried; a set has at most 32.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, options)).payload;
        } catch (failure) {
          if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
        }
      }
      throw new errors.JWSSignatureVerificationFailed();
    }
  }

  #hasScopes(payload: JWTPayload): boolean {
    if (this.#options.scopes.length === 0) return true;
    const has = typeof payload.scope === "string" ? payload.scope.split(" ") : [];
    return this.#options.scopes.every((scope) => has.includes(scope));
  }
}

/** @returns null where they cannot be read; requests then learn that the keys are not there */
function localKeys(set: JSONWebKeySet): KeyLookup | null {
  try {
    return createLocalJWKSet(set);
  } catch {
    return null;
  }
}

const invalid = (reason: string): AccessVerdict => ({ kind: "token_invalid", reason });

/** For the client's developer. Words of ours: what a token holds stays out of answers. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "the token has expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    switch (error.claim) {
      case "iss":
        return "the token has another issuer";
      case "aud":
        return "the token is for another audience";
      case "nbf":
        return "the token is not valid yet";
      case "exp":
        return "the token has no end";
      default:
        return "a claim of the token is not valid";
    }
  }
  if (error instanceof errors.JWKSNoMatchingKey) return "the token's key is not known";
  if (error instanceof errors.JWSSignatureVerificationFailed) return "the token's signature does not match";
  if (error instanceof errors.JOSEAlgNotAllowed) return "the token's algorithm is not allowed";
  return "the token is malformed";
}

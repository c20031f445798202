/**
 * Signatures of the state streams' entries: Ed25519 (RFC 8032) over what an entry says and where it stands, so that
 * nobody who may write to Redis can speak for another owner, and an entry cannot be copied to another stream. An old
 * entry repeated is harmless: versions decide.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { z } from "zod";

/** The 32 bytes of an Ed25519 public key, base64url (`x` of RFC 8037). */
export const PublisherKey = z.string().regex(
  /^[\w-]{43}$/,
  "an Ed25519 public key is 43 characters of base64url",
);
export type PublisherKey = z.infer<typeof PublisherKey>;

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: PublisherKey;
}

/** @returns PKCS #8 PEM, for a file of mode 0600 */
export function newSigningKeyPem(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** @param pem PKCS #8 */
export function signingKey(pem: string): SigningKey {
  const privateKey = createPrivateKey(pem);
  return {
    privateKey,
    publicKey: PublisherKey.parse(createPublicKey(privateKey).export({ format: "jwk" }).x),
  };
}

export function verifyingKey(key: PublisherKey): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: key }, format: "jwk" });
}

/** @param kind which field of the entry holds `payload` */
export function signEntry(
  stream: string,
  owner: string,
  kind: "batch" | "digest",
  payload: string,
  key: SigningKey,
): string {
  return sign(null, signedBytes(stream, owner, kind, payload), key.privateKey).toString("base64url");
}

/** Never throws: a signature that cannot be read is a wrong one. */
export function isSignedBy(
  stream: string,
  owner: string,
  kind: "batch" | "digest",
  payload: string,
  signature: string,
  key: KeyObject,
): boolean {
  const bytes = Buffer.from(signature, "base64url");
  return bytes.length === 64 && verify(null, signedBytes(stream, owner, kind, payload), key, bytes);
}

function signedBytes(stream: string, owner: string, kind: string, payload: string): Buffer {
  return Buffer.from(`godwit-state-1\n${stream}\n${owner}\n${kind}\n${payload}`);
}

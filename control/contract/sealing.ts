/**
 * Private keys of certificates travel sealed: control holds the public half of the edges' sealing key alone, so neither
 * its database, its backups nor Redis can give a private key away, and control cannot read what it has sealed.
 *
 * A sealed key is a JWE in compact form (RFC 7516), ECDH-ES+A256KW with A256GCM; its `kid` says which sealing key opens
 * it, so that keys can be changed while rows sealed to the old one are still about. A symmetric key-encryption key was
 * rejected: whoever may seal could then open everything.
 */
import { CompactEncrypt, exportJWK, generateKeyPair, importJWK } from "jose";
import { z } from "zod";

export const SEALING_ALGORITHM = "ECDH-ES+A256KW";
export const SEALING_ENCRYPTION = "A256GCM";

/** A public key on P-256 (RFC 7517). */
export const SealingKey = z.object({
  kty: z.literal("EC"),
  crv: z.literal("P-256"),
  x: z.string().length(43),
  y: z.string().length(43),
  kid: z.string().min(1).max(64),
});
export type SealingKey = z.infer<typeof SealingKey>;

/** What stands in an edge's `sealing_key_file`: the newest first, and older ones while rows need them. */
export const OpeningKeys = z.object({
  keys: z.array(SealingKey.extend({ d: z.string().length(43) })).min(1).max(16),
});
export type OpeningKeys = z.infer<typeof OpeningKeys>;

/** @param kid tells this key from those before and after it */
export async function newSealingKey(kid: string): Promise<{ seal: SealingKey; open: OpeningKeys }> {
  const { publicKey, privateKey } = await generateKeyPair(SEALING_ALGORITHM, {
    crv: "P-256",
    extractable: true,
  });
  return {
    seal: SealingKey.parse({ ...await exportJWK(publicKey), kid }),
    open: OpeningKeys.parse({ keys: [{ ...await exportJWK(privateKey), kid }] }),
  };
}

/** @param pem a private key, PKCS #8 or the older forms that OpenSSL reads */
export async function sealPrivateKey(pem: string, key: SealingKey): Promise<string> {
  return await new CompactEncrypt(new TextEncoder().encode(pem))
    .setProtectedHeader({ alg: SEALING_ALGORITHM, enc: SEALING_ENCRYPTION, kid: key.kid })
    .encrypt(await importJWK(key, SEALING_ALGORITHM));
}

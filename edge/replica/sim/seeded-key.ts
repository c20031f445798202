/** Signing keys that a seed decides: Ed25519 keys are 32 bytes behind a fixed head (RFC 8410 section 7). */
import { type SigningKey, signingKey } from "../../../control/contract/signing.ts";
import type { Chance } from "./chance.ts";

const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

export function seededKey(chance: Chance): SigningKey {
  const der = Buffer.concat([PKCS8_HEAD, Buffer.from(chance.hex(64), "hex")]);
  return signingKey(`-----BEGIN PRIVATE KEY-----\n${der.toString("base64")}\n-----END PRIVATE KEY-----\n`);
}

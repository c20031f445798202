/** The Ed25519 key pair by which an owner signs what it publishes (PKCS #8 PEM, mode 0600), made where missing. */
import { GodwitError, messageOf } from "../contract/errors.ts";
import { newSigningKeyPem, type SigningKey, signingKey } from "../contract/signing.ts";
import { readPrivateFile } from "./private-file.ts";

/** @throws GodwitError `publish.key_file_unusable` */
export function loadSigningKey(file: string): SigningKey {
  try {
    return signingKey(readPrivateFile(file, newSigningKeyPem));
  } catch (error) {
    throw new GodwitError(
      "publish.key_file_unusable",
      `Cannot use the publisher key file ${file}: ${messageOf(error)}`,
      { fault: "us", hint: "It must hold an Ed25519 key as PKCS #8 PEM; restore it.", cause: error },
    );
  }
}

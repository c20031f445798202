/** The Ed25519 key pair that signs access tokens (PKCS #8 PEM, mode 0600), made where missing. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { newSigningKeyPem } from "../contract/signing.ts";
import { readPrivateFile } from "../publish/private-file.ts";

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function loadKeyPair(file: string): KeyPair {
  try {
    const privateKey = createPrivateKey(readPrivateFile(file, newSigningKeyPem));
    if (privateKey.asymmetricKeyType !== "ed25519") {
      throw new Error(`it holds a key of type ${privateKey.asymmetricKeyType}, not ed25519`);
    }
    return { privateKey, publicKey: createPublicKey(privateKey) };
  } catch (error) {
    throw new GodwitError(
      "access.key_file_unusable",
      `Cannot use the token key file ${file}: ${messageOf(error)}`,
      { fault: "us", hint: "Check `token_key_file`: an Ed25519 key as PKCS #8 PEM.", cause: error },
    );
  }
}

/**
 * The Ed25519 key pair that signs access tokens (PKCS #8 PEM, mode 0600). Made where missing; of several processes that
 * start together one wins (link(2) fails where the name exists), and all read the winner's.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createPrivateKey } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { GodwitError, messageOf } from "../contract/errors.ts";

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export function loadKeyPair(file: string): KeyPair {
  try {
    makeWhereMissing(file);
    if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
    const privateKey = createPrivateKey(readFileSync(file));
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

function makeWhereMissing(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync("ed25519");
  const draft = `${file}.${process.pid}.${crypto.randomUUID()}`;
  writeFileSync(draft, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flag: "wx" });
  try {
    linkSync(draft, file);
  } catch (error) {
    // EEXIST: another process made it first, and its key is the one to use.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    unlinkSync(draft);
  }
}

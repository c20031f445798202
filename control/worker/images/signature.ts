/**
 * Signatures of images as cosign makes them with a key (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md):
 * an artifact beside the image, tagged `sha256-HEX.sig`, whose layers are payloads that name the image's digest and whose
 * annotations sign them. Which images need one is the operator's to say (`images.signatures`). No transparency log is asked.
 */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import { Digest } from "../../contract/names.ts";
import type { Reference } from "./reference.ts";

export const SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";
/** Of one image; further ones are not looked at. */
export const SIGNATURES_MAX = 32;
export const PAYLOAD_BYTES_MAX = 65_536;

/** `tag` of the distribution specification: where an image's signatures are. */
export function signatureTag(digest: string): string {
  return `${digest.replace(":", "-")}.sig`;
}

export interface Signature {
  /** Simple signing's JSON, as it was signed. */
  readonly payload: Uint8Array;
  /** base64 */
  readonly signature: string;
}

export interface SignaturePolicy {
  readonly prefix: string;
  readonly keyFile: string;
}

const Payload = z.object({
  critical: z.object({
    identity: z.object({ "docker-reference": z.string() }),
    image: z.object({ "docker-manifest-digest": Digest }),
    type: z.string(),
  }),
});

type Policies = WorkerConfig["images"]["signatures"];

/**
 * The policy of the longest prefix that the image's name has, or null where none asks for a signature.
 * @throws GodwitError `image.unsigned` for a layout on disk where there are policies: it has no name to judge it by
 */
export function signaturePolicyOf(reference: Reference, policies: Policies): SignaturePolicy | null {
  if (policies === undefined || policies.length === 0) return null;
  if (reference.kind === "layout") {
    throw unsigned(reference.text, "a layout on disk has no name by which a signature is asked for");
  }
  const name = fullName(reference.host, reference.name);
  const found = policies.filter(({ prefix }) => name === prefix || name.startsWith(`${prefix}/`))
    .sort((a, b) => b.prefix.length - a.prefix.length)[0];
  return found === undefined ? null : { prefix: found.prefix, keyFile: found.public_key_file };
}

/**
 * Passes where one of the signatures is the key's and names this image, by one of its digests, under this name.
 * @throws GodwitError `image.unsigned`
 */
export function checkSignatures(
  reference: Reference,
  digests: readonly string[],
  signatures: readonly Signature[],
  policy: SignaturePolicy,
): void {
  if (signatures.length === 0) {
    throw unsigned(reference.text, `it has no signature, ${policy.prefix} asks for one`);
  }
  const key = publicKeyOf(policy);
  const name = reference.kind === "layout" ? "" : fullName(reference.host, reference.name);
  const reasons = signatures.map((signature) => reasonAgainst(signature, key, digests, name));
  if (reasons.includes(null)) return;
  throw unsigned(reference.text, `none of its ${signatures.length} signatures counts: ${reasons[0]}`);
}

function reasonAgainst(
  { payload, signature }: Signature,
  key: KeyObject,
  digests: readonly string[],
  name: string,
): string | null {
  // Null names Ed25519's own hash; ECDSA and RSA keys sign SHA-256.
  const algorithm = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  if (!verify(algorithm, payload, key, Buffer.from(signature, "base64"))) return "another key made it";
  const parsed = Payload.safeParse(jsonOf(payload));
  if (!parsed.success) return "its payload cannot be read";
  const { identity, image } = parsed.data.critical;
  if (!digests.includes(image["docker-manifest-digest"])) {
    return `it is for ${image["docker-manifest-digest"]}`;
  }
  const signed = identity["docker-reference"].split("@")[0] ?? "";
  const bare = signed.replace(/:[^:/]*$/, "");
  return bare === name || signed === name ? null : `it is for the name ${bare}`;
}

function publicKeyOf({ keyFile, prefix }: SignaturePolicy): KeyObject {
  try {
    return createPublicKey(readFileSync(keyFile));
  } catch (error) {
    throw new GodwitError(
      "image.signature_key_unusable",
      `Cannot read the key ${keyFile} that signs images of ${prefix}: ${messageOf(error)}`,
      { fault: "us", hint: "name a PEM file with the public key in the worker's images.signatures" },
    );
  }
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null; // the schema says that it is none
  }
}

/** Names without a host are Docker Hub's, those of one part its library's (distribution/reference, familiar names). */
function fullName(host: string | null, name: string): string {
  if (host !== null) return name;
  return name.includes("/") ? `docker.io/${name}` : `docker.io/library/${name}`;
}

function unsigned(ref: string, why: string): GodwitError {
  return new GodwitError("image.unsigned", `Cannot use image ${ref}: ${why}`, {
    fault: "client",
    hint:
      "sign it with `cosign sign --key` and the key that the worker's images.signatures names, then deploy again",
  });
}

/**
 * Image references, by the grammar of distribution/reference: `[HOST[:PORT]/]PATH[:TAG][@sha256:HEX]`, and
 * `oci:FOLDER[:TAG]` for an image layout on this machine's own disk. The first part is a host when it holds a dot, a
 * colon, or is `localhost`; without one the reference is left as it is, and skopeo's own configuration decides.
 */
import { isAbsolute } from "node:path";
import { GodwitError } from "../../contract/errors.ts";

const REFERENCE_LENGTH_MAX = 512;
/** Of host and path together, as the distribution specification bounds it. */
const NAME_LENGTH_MAX = 255;

export interface RegistryReference {
  readonly kind: "registry";
  readonly text: string;
  /** `HOST[:PORT]`, or null where the reference names none. */
  readonly host: string | null;
  /** Host and path, without tag and digest. */
  readonly name: string;
  /** `latest` where neither a tag nor a digest is given. */
  readonly tag: string | null;
  /** Wins over the tag when both are given, as it does for docker. */
  readonly digest: string | null;
}
export interface LayoutReference {
  readonly kind: "layout";
  readonly text: string;
  readonly folder: string;
  readonly tag: string | null;
}
export type Reference = RegistryReference | LayoutReference;

const hostPattern =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$/;
const pathPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** @throws GodwitError `image.bad_reference` with the part that is wrong. */
export function parseReference(text: string): Reference {
  if (text.length === 0 || text.length > REFERENCE_LENGTH_MAX) {
    throw badReference(
      text.slice(0, 80),
      `it has ${text.length} characters, 1 to ${REFERENCE_LENGTH_MAX} are allowed`,
    );
  }
  return text.startsWith("oci:") ? parseLayout(text) : parseRegistry(text);
}

function parseLayout(text: string): LayoutReference {
  const rest = text.slice("oci:".length);
  const colon = rest.lastIndexOf(":");
  const tagged = colon > rest.lastIndexOf("/");
  const folder = tagged ? rest.slice(0, colon) : rest;
  const tag = tagged ? rest.slice(colon + 1) : null;
  if (!isAbsolute(folder)) throw badReference(text, "the folder of an oci: reference starts with /");
  if (folder.includes("\0")) throw badReference(text, "it holds a NUL");
  if (tag !== null && !tagPattern.test(tag)) throw badReference(text, `"${tag}" is no tag`);
  return { kind: "layout", text, folder, tag };
}

function parseRegistry(text: string): RegistryReference {
  const at = text.indexOf("@");
  const digest = at === -1 ? null : text.slice(at + 1);
  if (digest !== null && !digestPattern.test(digest)) {
    throw badReference(text, `"${digest}" is no digest; it is sha256: and 64 of 0-9 and a-f`);
  }
  const named = at === -1 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  const name = tagged ? named.slice(0, colon) : named;
  const tag = tagged ? named.slice(colon + 1) : digest === null ? "latest" : null;
  if (tag !== null && !tagPattern.test(tag)) throw badReference(text, `"${tag}" is no tag`);
  if (name.length === 0 || name.length > NAME_LENGTH_MAX) {
    throw badReference(text, "its name is empty or too long");
  }
  const parts = name.split("/");
  const first = parts[0] ?? "";
  const host = parts.length > 1 && (/[.:]/.test(first) || first === "localhost") ? first : null;
  if (host !== null && !hostPattern.test(host)) throw badReference(text, `"${host}" is no registry host`);
  for (const part of host === null ? parts : parts.slice(1)) {
    if (!pathPattern.test(part)) throw badReference(text, `"${part}" is no part of a repository's name`);
  }
  return { kind: "registry", text, host, name, tag, digest };
}

function badReference(text: string, why: string): GodwitError {
  return new GodwitError("image.bad_reference", `Cannot read the image reference "${text}": ${why}`, {
    fault: "client",
    hint: "write HOST:PORT/NAME:TAG, HOST:PORT/NAME@sha256:HEX, or oci:/FOLDER:TAG",
  });
}

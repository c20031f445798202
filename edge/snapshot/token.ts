/** The bearer token (RFC 6750) of a fleet's snapshots: read from its file, compared in constant time. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";

export const TOKEN_LENGTH_MIN = 32;
export const TOKEN_LENGTH_MAX = 512;

/** @throws GodwitError `replica.snapshot_token_unusable` */
export function readSnapshotToken(file: string): string {
  const found = tokenIn(file);
  if (found.token !== null) return found.token;
  throw new GodwitError(
    "replica.snapshot_token_unusable",
    `Cannot use the token file ${file}: ${found.reason}`,
    {
      fault: "client",
      hint:
        `snapshot_token_file holds ${TOKEN_LENGTH_MIN} to ${TOKEN_LENGTH_MAX} characters and has mode 0600`,
    },
  );
}

export function tokenIn(file: string): { token: string } | { token: null; reason: string } {
  const unusable = (reason: string) => ({ token: null, reason });
  try {
    const token = readFileSync(file, "utf8").trim();
    if ((statSync(file).mode & 0o077) !== 0) return unusable("others may read it");
    if (!/^[\x21-\x7e]+$/.test(token)) return unusable("it holds something else than printable ASCII");
    if (token.length >= TOKEN_LENGTH_MIN && token.length <= TOKEN_LENGTH_MAX) return { token };
    return unusable(`it has ${token.length} characters`);
  } catch (error) {
    return unusable(messageOf(error));
  }
}

/** @param field the value of Authorization */
export function bearsToken(field: string | undefined, token: string): boolean {
  const [, given] = /^Bearer +(\S+)$/i.exec(field ?? "") ?? [];
  // Hashes, so that lengths differ in nothing that can be measured either.
  return given !== undefined && timingSafeEqual(sha256(given), sha256(token));
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

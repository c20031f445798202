import { timingSafeEqual } from "node:crypto";
import { type Principal, verifyToken } from "../access/token.ts";
import { GodwitError } from "../contract/errors.ts";
import { isTokenRevoked } from "../store/tokens-revoked.ts";
import type { ApiParts } from "./context.ts";

/** RFC 6750 section 2.1. */
export function bearerOf(request: Request): string {
  const match = /^Bearer +([^ ]+)$/i.exec(request.headers.get("authorization") ?? "");
  if (match?.[1] !== undefined) return match[1];
  throw new GodwitError("access.token_missing", "Cannot answer without an access token", {
    fault: "client",
    hint: "Send `Authorization: Bearer TOKEN`.",
  });
}

export async function authenticate(parts: ApiParts, request: Request): Promise<Principal> {
  return await verifyToken(
    parts.keys,
    bearerOf(request),
    new Date(),
    (id) => parts.store.read((sql) => isTokenRevoked(sql, id)),
  );
}

export function requireNodeToken(parts: ApiParts, request: Request): void {
  if (isNodeToken(parts, bearerOf(request))) return;
  throw new GodwitError("access.node_token_wrong", "Cannot accept the node token", {
    fault: "client",
    hint: "The worker's and control's `node_token` must be the same.",
  });
}

export function isNodeToken(parts: ApiParts, token: string): boolean {
  const [given, ours] = [Buffer.from(token), Buffer.from(parts.config.node_token)];
  return given.length === ours.length && timingSafeEqual(given, ours);
}

/** Reads `Authorization: Bearer TOKEN` (RFC 6750 section 2.1). */
import { fieldValue } from "../relay/field-cursor.ts";

export const TOKEN_BYTES_MAX = 8_192;

/** @returns the token; null where the request names none; `malformed` where two readers could read two of them */
export function bearerToken(fields: string): string | null | "malformed" {
  const value = fieldValue(fields, "authorization");
  if (value === null) return null;
  const space = value.indexOf(" ");
  if ((space === -1 ? value : value.slice(0, space)).toLowerCase() !== "bearer") return null;
  if (space === -1) return "malformed";
  const token = value.slice(space + 1).trim();
  if (token.length === 0 || token.length > TOKEN_BYTES_MAX) return "malformed";
  // Two Authorization lines were joined with a comma, which no token holds.
  for (let i = 0; i < token.length; i++) if (!isTokenByte(token.charCodeAt(i))) return "malformed";
  return token;
}

/** Of a JWT: base64url and dots. */
function isTokenByte(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) ||
    code === 0x2d || code === 0x2e || code === 0x5f;
}

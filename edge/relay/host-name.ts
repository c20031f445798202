/** The host of a request: `Host` or the authority of an absolute target, checked and brought to one form. */
import { BYTE_CLASS, COLON, DIGIT, HEX, HOST } from "./byte-class.ts";

const HOST_BYTES_MAX = 253 + 1 + 6;

/**
 * @returns the name for look-ups: lower case, without port and without trailing dot; null where it is not a valid
 * uri-host [":" port] (RFC 9110 section 7.2). User information, percent-encoding and an empty host are refused.
 */
export function hostName(authority: string): string | null {
  const length = authority.length;
  if (length === 0 || length > HOST_BYTES_MAX) return null;
  let at = 0;
  if (authority.charCodeAt(0) === 0x5b) {
    at = 1;
    let code = authority.charCodeAt(at);
    while (at < length && ((BYTE_CLASS[code]! & HEX) !== 0 || code === COLON || code === 0x2e)) {
      code = authority.charCodeAt(++at);
    }
    if (at >= length || at < 3 || code !== 0x5d) return null;
    at++;
  } else {
    while (at < length && (BYTE_CLASS[authority.charCodeAt(at)]! & HOST) !== 0) at++;
    if (at === 0) return null;
  }
  if (at < length && !isPort(authority, at)) return null;
  let end = at;
  if (authority.charCodeAt(end - 1) === 0x2e) end--;
  if (end === 0) return null;
  return authority.slice(0, end).toLowerCase();
}

function isPort(authority: string, colon: number): boolean {
  if (authority.charCodeAt(colon) !== COLON) return false;
  const digits = authority.length - colon - 1;
  if (digits < 1 || digits > 5) return false;
  let port = 0;
  for (let i = colon + 1; i < authority.length; i++) {
    const code = authority.charCodeAt(i);
    if ((BYTE_CLASS[code]! & DIGIT) === 0) return false;
    port = port * 10 + code - 48;
  }
  return port <= 65_535;
}

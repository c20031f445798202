/**
 * WebSocket over HTTP/2 (RFC 8441): towards the machine it is the handshake of HTTP/1.1 (RFC 6455 section 4), whose proof of
 * understanding the edge asks for and checks, since HTTP/2 has none.
 */
import { createHash, randomBytes } from "node:crypto";
import { fieldValue } from "../relay/field-cursor.ts";
import { METHOD_REFUSED, type Refusal } from "../relay/refusal.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** @returns what the head needs to become a handshake, or null where the protocol is another */
export function handshake(protocol: string): { key: string; lines: string } | null {
  if (protocol !== "websocket") return null;
  const key = randomBytes(16).toString("base64");
  return { key, lines: `connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${key}\r\n` };
}

export const UNKNOWN_PROTOCOL: Refusal = METHOD_REFUSED;

/** Whether response lines hold the proof that belongs to the key. */
export function accepted(key: string, lines: string): boolean {
  return fieldValue(lines, "sec-websocket-accept") === createHash("sha1").update(key + GUID).digest("base64");
}

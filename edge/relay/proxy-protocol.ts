/**
 * The PROXY protocol (haproxy.org, proxy-protocol.txt): who is really connected, told by whoever connects in its place,
 * before the first byte of all else. Version 1 is a line of text, version 2 binary.
 *
 * Reading is strict, as the document asks: one way to write each address, no header that is nearly one, and a bound on its
 * size. Writing gives text of which each character is one byte, so that it can go out in front of a request's head.
 */
import { isIP } from "node:net";
import { ipv6Groups, ipv6Text, shownAddress } from "./ip-address.ts";

/** Of version 1, its line end included; the document's own bound. */
export const V1_BYTES_MAX = 107;
/** Of version 2: addresses and the fields behind them, which are skipped. */
export const V2_BYTES_MAX = 4_096;

const V1_START = Buffer.from("PROXY ", "latin1");
const V2_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_FIXED_BYTES = 16;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  /** Not all of it is there. */
  | { readonly kind: "more" }
  /** What came is no header, or one that nobody may send here. */
  | { readonly kind: "invalid" }
  /** `source` is null where the sender speaks for itself (LOCAL) or cannot tell (UNKNOWN, UNSPEC, a Unix socket). */
  | { readonly kind: "header"; readonly bytes: number; readonly source: Endpoint | null };

const MORE: ProxyHeader = { kind: "more" };
const INVALID: ProxyHeader = { kind: "invalid" };

/** @param bytes all that has come so far */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsLike(bytes, V1_START)) return bytes.length < V1_START.length ? MORE : readV1(bytes);
  if (startsLike(bytes, V2_SIGNATURE)) return bytes.length < V2_FIXED_BYTES ? MORE : readV2(bytes);
  return INVALID;
}

function startsLike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

// ── version 1 ────────────────────────────────────────────────────────────────────────────────────────────────────

function readV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf("\r\n");
  if (end === -1) return bytes.length < V1_BYTES_MAX ? MORE : INVALID;
  const parts = bytes.toString("latin1", V1_START.length, end).split(" ");
  const header = (source: Endpoint | null): ProxyHeader => ({ kind: "header", bytes: end + 2, source });
  // What follows UNKNOWN means nothing.
  if (parts[0] === "UNKNOWN") return header(null);
  const [family, source = "", destination = "", sourcePort = "", destinationPort = ""] = parts;
  const version = family === "TCP4" ? 4 : family === "TCP6" ? 6 : 0;
  const port = portOf(sourcePort);
  const valid = parts.length === 5 && version !== 0 && isAddress(source, version) &&
    isAddress(destination, version) && port !== null && portOf(destinationPort) !== null;
  return valid ? header({ address: shownAddress(source), port: port! }) : INVALID;
}

function isAddress(text: string, version: number): boolean {
  return isIP(text) === version && !text.includes("%");
}

function portOf(text: string): number | null {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(text)) return null;
  const port = Number(text);
  return port <= 65_535 ? port : null;
}

// ── version 2 ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Address family and transport (section 2.2): bytes of its addresses. */
const FAMILY_BYTES = new Map([[0x00, 0], [0x11, 12], [0x21, 36], [0x31, 216]]);

function readV2(bytes: Buffer): ProxyHeader {
  const command = bytes[12]!, family = bytes[13]!;
  const size = bytes.readUInt16BE(14);
  if (command !== 0x20 && command !== 0x21) return INVALID;
  const addressBytes = FAMILY_BYTES.get(family);
  // Datagrams do not come over a stream.
  if (addressBytes === undefined || size < addressBytes && command === 0x21) return INVALID;
  const total = V2_FIXED_BYTES + size;
  if (total > V2_BYTES_MAX) return INVALID;
  if (bytes.length < total) return MORE;
  const local = command === 0x20;
  return { kind: "header", bytes: total, source: local ? null : sourceOfV2(bytes, family) };
}

function sourceOfV2(bytes: Buffer, family: number): Endpoint | null {
  const at = V2_FIXED_BYTES;
  if (family === 0x11) {
    return { address: bytes.subarray(at, at + 4).join("."), port: bytes.readUInt16BE(at + 8) };
  }
  if (family !== 0x21) return null;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(at + i));
  return { address: shownAddress(ipv6Text(groups)), port: bytes.readUInt16BE(at + 32) };
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** @returns one character a byte; says UNKNOWN or UNSPEC where the two addresses are not of one family */
export function writeProxyHeader(version: "v1" | "v2", source: Endpoint, destination: Endpoint): string {
  const family = isIP(source.address);
  const known = family !== 0 && family === isIP(destination.address);
  if (version === "v1") {
    if (!known) return "PROXY UNKNOWN\r\n";
    const [from, to] = [shortest(source.address), shortest(destination.address)];
    return `PROXY TCP${family} ${from} ${to} ${source.port} ${destination.port}\r\n`;
  }
  const code = !known ? 0x00 : family === 4 ? 0x11 : 0x21;
  const size = FAMILY_BYTES.get(code)!;
  const bytes = Buffer.alloc(V2_FIXED_BYTES + size);
  V2_SIGNATURE.copy(bytes);
  bytes[12] = 0x21;
  bytes[13] = code;
  bytes.writeUInt16BE(size, 14);
  if (known) {
    const width = family === 4 ? 4 : 16;
    addressBytes(source.address).copy(bytes, V2_FIXED_BYTES);
    addressBytes(destination.address).copy(bytes, V2_FIXED_BYTES + width);
    bytes.writeUInt16BE(source.port, V2_FIXED_BYTES + 2 * width);
    bytes.writeUInt16BE(destination.port, V2_FIXED_BYTES + 2 * width + 2);
  }
  return bytes.toString("latin1");
}

function addressBytes(address: string): Buffer {
  if (!address.includes(":")) return Buffer.from(address.split(".").map(Number));
  const bytes = Buffer.alloc(16);
  ipv6Groups(address).forEach((group, i) => bytes.writeUInt16BE(group, i * 2));
  return bytes;
}

const shortest = (address: string) => address.includes(":") ? ipv6Text(ipv6Groups(address)) : address;

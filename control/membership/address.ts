/** IP addresses as bytes, and in the one text by which they are compared (RFC 5952). */
import { isIPv4, isIPv6 } from "node:net";

/** Null where it is no IP address, or one with a zone, which means nothing to another host. */
export function canonicalAddress(address: string): string | null {
  if (isIPv4(address)) return address;
  return isIPv6(address) && !address.includes("%") ? addressOf(addressBytes(address)) : null;
}

/** @param address an IP address without a zone. @returns 4 or 16 bytes */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail] = address.split("::");
  const before = groupsOf(head), after = tail === undefined ? [] : groupsOf(tail);
  const bytes = Buffer.alloc(16);
  before.forEach((group, i) => bytes.writeUInt16BE(group, i * 2));
  after.forEach((group, i) => bytes.writeUInt16BE(group, 16 - (after.length - i) * 2));
  return bytes;
}

/** @param bytes 4 or 16 */
export function addressOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2));
  let gapAt = -1, gap = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > gap) [gapAt, gap] = [i, end - i];
  }
  const text = (some: number[]) => some.map((group) => group.toString(16)).join(":");
  return gapAt === -1 ? text(groups) : `${text(groups.slice(0, gapAt))}::${text(groups.slice(gapAt + gap))}`;
}

function groupsOf(part: string): number[] {
  if (part === "") return [];
  return part.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    // The last 32 bits, written as IPv4 (RFC 4291 section 2.2).
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

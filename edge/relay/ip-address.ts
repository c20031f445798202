/** IPv6 addresses as numbers and as text. The runtimes' URL parsers refuse some valid forms, so they do not serve here. */

/** @param address a valid IPv6 address (`isIP(address) === 6`); a zone is left out. @returns its eight groups */
export function ipv6Groups(address: string): number[] {
  const zone = address.indexOf("%");
  const text = zone === -1 ? address : address.slice(0, zone);
  const gap = text.indexOf("::");
  const left = groupsOf(gap === -1 ? text : text.slice(0, gap));
  if (gap === -1) return left;
  const right = groupsOf(text.slice(gap + 2));
  return [...left, ...Array<number>(Math.max(0, 8 - left.length - right.length)).fill(0), ...right];
}

function groupsOf(text: string): number[] {
  const groups: number[] = [];
  if (text === "") return groups;
  for (const part of text.split(":")) {
    if (!part.includes(".")) groups.push(Number.parseInt(part, 16));
    else {
      const [a = 0, b = 0, c = 0, d = 0] = part.split(".").map(Number);
      groups.push(a << 8 | b, c << 8 | d);
    }
  }
  return groups;
}

/** The one form of RFC 5952: lower case, no leading zeros, the longest run of zeros as `::`. */
export function ipv6Text(groups: readonly number[]): string {
  let best = 0, bestLength = 1;
  for (let at = 0; at < groups.length; at++) {
    let length = 0;
    while (groups[at + length] === 0) length++;
    if (length > bestLength) [best, bestLength] = [at, length];
    at += length;
  }
  const text = (from: number, to: number) =>
    groups.slice(from, to).map((group) => group.toString(16)).join(":");
  if (bestLength === 1) return text(0, groups.length);
  return `${text(0, best)}::${text(best + bestLength, groups.length)}`;
}

/** An address as the edge shows it: one form each, and IPv4 as IPv4 where it came mapped into IPv6. */
export function shownAddress(address: string): string {
  if (!address.includes(":")) return address;
  const groups = ipv6Groups(address);
  const [, , , , , marker = 0, high = 0, low = 0] = groups;
  if (marker === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  return ipv6Text(groups);
}

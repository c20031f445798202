/**
 * What counts as one client where clients are limited: an IPv4 address, or a /64 of IPv6, because a single subscriber has
 * at least that many addresses to choose from (RFC 6177).
 */

/** @param address as a socket gives it: no port, no brackets */
export function clientKey(address: string): string {
  return address.includes(":") ? network64(address) : address;
}

function network64(address: string): string {
  const zone = address.indexOf("%");
  const text = zone === -1 ? address : address.slice(0, zone);
  const gap = text.indexOf("::");
  const left = (gap === -1 ? text : text.slice(0, gap)).split(":");
  const groups = gap === 0 ? [] : left;
  if (gap !== -1 && groups.length < 4) {
    // The part behind the gap may reach into the first four groups.
    const right = text.length === gap + 2 ? [] : text.slice(gap + 2).split(":");
    // An IPv4 address at the end stands for two groups.
    const behind = right.length + (right.at(-1)?.includes(".") ? 1 : 0);
    const zeros = Math.max(0, 8 - groups.length - behind);
    for (let i = 0; i < zeros; i++) groups.push("0");
    groups.push(...right);
  }
  let key = "";
  for (let i = 0; i < 4; i++) key += `${Number.parseInt(groups[i] ?? "0", 16).toString(16)}:`;
  return `${key}:/64`;
}

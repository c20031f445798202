/**
 * What counts as one client where clients are limited: an IPv4 address, or a /64 of IPv6, because a single subscriber has
 * at least that many addresses to choose from (RFC 6177).
 */

import { ipv6Groups, ipv6Text } from "../relay/ip-address.ts";

/** @param address as a socket gives it: no port, no brackets */
export function clientKey(address: string): string {
  return address.includes(":") ? `${ipv6Text([...ipv6Groups(address).slice(0, 4), 0, 0, 0, 0])}/64` : address;
}

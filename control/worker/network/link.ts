/**
 * The names and addresses of one machine's link, all of them functions of what the worker knows already: nothing is
 * allocated here and nothing needs to be remembered. A link is point to point, so there is no shared segment on which
 * machines could hear each other.
 *
 * IPv4: the worker's range is cut into /31 links (RFC 3021) by the machine's index; the host has the even address.
 * IPv6: range (48 bits), network of the organisation (16), machine id (64); the gateway is always fe80::1.
 */
import { GodwitError } from "../../contract/errors.ts";

export interface LinkRequest {
  /** Slot of the machine on this host, from 0; unique among the machines that exist on it. */
  readonly index: number;
  /** 14 hexadecimal digits. */
  readonly machineId: string;
  readonly orgId: string;
  /** Number of the organisation's network on this host, 0 to 65,535. Equal numbers may reach each other. */
  readonly orgNetwork: number;
  /** `veth`: the other end stands beside it as `NAMEp` until somebody moves it into a container. */
  readonly kind: "tap" | "veth";
}

export interface MachineLink {
  /** On the host. */
  readonly name: string;
  /** Of the machine's side. */
  readonly mac: string;
  /** Inside the machine. */
  readonly interface: string;
  readonly mtu: number;
  /** With its prefix length, `172.30.0.3/31`. */
  readonly address4: string;
  readonly gateway4: string;
  /** With its prefix length, `fd…/128`. */
  readonly address6: string;
  readonly gateway6: string;
}

/** What `linkOf` needs of a stack. */
export interface LinkRange {
  readonly prefix: string;
  /** `172.20.16.0/20` */
  readonly range4: string;
  /** `fd12:3456:789a::/48` */
  readonly range6: string;
}

export const LINK_MTU = 1_500;
export const GATEWAY6 = "fe80::1";
/** IFNAMSIZ of the kernel without its NUL; the longest name is that of a veth's other end. */
const nameCharsMax = 15;
const orgNetworkMax = 0xffff;

/** @throws GodwitError `network.range_exhausted` when the index lies beyond the IPv4 range. */
export function linkOf(range: LinkRange, request: LinkRequest): MachineLink {
  const { base, links } = parseRange4(range.range4);
  const { index, machineId, orgNetwork } = request;
  if (!Number.isInteger(index) || index < 0 || index >= links) {
    throw new GodwitError(
      "network.range_exhausted",
      `Cannot give machine ${machineId} an address: link ${index} is beyond the ${links} links of ${range.range4}`,
      { fault: "us", hint: "destroy machines on this host, or give its worker a wider network.range4" },
    );
  }
  if (!Number.isInteger(orgNetwork) || orgNetwork < 0 || orgNetwork > orgNetworkMax) {
    throw new GodwitError(
      "network.range_exhausted",
      `Cannot give machine ${machineId} an address: network ${orgNetwork} is beyond the 65536 of ${range.range6}`,
      { fault: "us", hint: "move organisations to another host" },
    );
  }
  const gateway = base + 2 * index;
  return {
    name: linkName(range.prefix, index),
    mac: `02:${octets(machineId)}`,
    interface: "eth0",
    mtu: LINK_MTU,
    address4: `${formatAddress4(gateway + 1)}/31`,
    gateway4: formatAddress4(gateway),
    address6: `${addressIn6(range.range6, orgNetwork, machineId)}/128`,
    gateway6: GATEWAY6,
  };
}

export function linkName(prefix: string, index: number): string {
  const name = `${prefix}t${index}`;
  if (name.length + 1 > nameCharsMax) {
    throw new GodwitError("network.range_exhausted", `Cannot name link ${index}: ${name} is too long`, {
      fault: "us",
    });
  }
  return name;
}

/** The index in a link's name, or null where the name is none of this prefix. */
export function indexOf(prefix: string, name: string): number | null {
  if (!name.startsWith(`${prefix}t`)) return null;
  const digits = name.slice(prefix.length + 1);
  return /^(?:0|[1-9]\d*)$/.test(digits) ? Number(digits) : null;
}

/** The host's side has an address of its own that never changes, so that a resumed guest's ARP entry stays right. */
export function hostMac(machineId: string): string {
  return `06:${octets(machineId)}`;
}

export function parseRange4(range: string): { base: number; bits: number; links: number } {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(range);
  const [a, b, c, d, bits] = (match?.slice(1) ?? []).map(Number) as [number, number, number, number, number];
  const base = ((a * 256 + b) * 256 + c) * 256 + d;
  const size = 2 ** (32 - bits);
  if (match === null || [a, b, c, d].some((part) => part > 255) || bits > 31 || base % size !== 0) {
    throw new GodwitError("network.invalid_range", `Cannot use ${range} as the machines' IPv4 range`, {
      fault: "us",
      hint: "network.range4 is the first address of a network and its prefix length, such as 172.20.16.0/20",
    });
  }
  return { base, bits, links: size / 2 };
}

export function formatAddress4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

function addressIn6(range: string, network: number, machineId: string): string {
  const match = /^([0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{1,4})::\/48$/.exec(range);
  if (match === null) {
    throw new GodwitError("network.invalid_range", `Cannot use ${range} as the machines' IPv6 range`, {
      fault: "us",
      hint: "network.range6 is a /48 with three groups, such as fd12:3456:789a::/48",
    });
  }
  const groups = machineId.padStart(16, "0").match(/.{4}/g) ?? [];
  const tail = [network.toString(16), ...groups.map((group) => Number.parseInt(group, 16).toString(16))];
  // The URL parser writes IPv6 addresses as RFC 5952 wants them, which is also how the kernel prints them.
  return new URL(`http://[${match[1]}:${tail.join(":")}]/`).hostname.slice(1, -1);
}

function octets(machineId: string): string {
  return machineId.slice(0, 10).match(/../g)?.join(":") ?? "";
}

/**
 * rtnetlink(7): just the four requests that bring an interface up with its addresses and default routes. Chosen over
 * ioctl because it is one form for IPv4 and IPv6 and can leave out duplicate address detection, which would keep an
 * IPv6 address unusable for a second.
 */
import { assert, SystemError } from "./error.ts";
import { check, libc } from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;

const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const NLM_F_REQUEST_ACK = 0x5;
const NLM_F_CREATE_REPLACE = 0x500;
const NLMSG_ERROR = 2;

const IFF_UP = 1;
const IFLA_MTU = 4;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_NODAD = 2;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;
/** The gateway is reached over this link even where no address of ours is in its subnet. */
const RTNH_F_ONLINK = 4;

const NLMSGHDR_BYTES = 16;
const ANSWER_BYTES = 4_096;

export interface Address {
  readonly family: 4 | 6;
  readonly bytes: Uint8Array;
  readonly prefixLength: number;
}

const familyOf = (address: Address) => address.family === 4 ? AF_INET : AF_INET6;

function attribute(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array((4 + data.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + data.length, true);
  view.setUint16(2, type, true);
  bytes.set(data, 4);
  return bytes;
}

function number32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function message(type: number, flags: number, header: Uint8Array, attributes: Uint8Array[]): Uint8Array {
  const body = Buffer.concat([header, ...attributes]);
  const bytes = new Uint8Array(NLMSGHDR_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, NLM_F_REQUEST_ACK | flags, true);
  view.setUint32(8, 1, true);
  bytes.set(body, NLMSGHDR_BYTES);
  return bytes;
}

/** `mtu` null leaves it as it is. */
export function linkUpMessage(index: number, mtu: number | null): Uint8Array {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, IFF_UP, true);
  view.setUint32(12, IFF_UP, true);
  return message(RTM_NEWLINK, 0, header, mtu === null ? [] : [attribute(IFLA_MTU, number32(mtu))]);
}

export function addressMessage(index: number, address: Address): Uint8Array {
  const header = Uint8Array.of(familyOf(address), address.prefixLength, IFA_F_NODAD, 0, ...number32(index));
  return message(RTM_NEWADDR, NLM_F_CREATE_REPLACE, header, [
    attribute(IFA_LOCAL, address.bytes),
    attribute(IFA_ADDRESS, address.bytes),
  ]);
}

export function defaultRouteMessage(index: number, gateway: Address): Uint8Array {
  const route = [familyOf(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST];
  const header = Uint8Array.of(...route, ...number32(RTNH_F_ONLINK));
  return message(RTM_NEWROUTE, NLM_F_CREATE_REPLACE, header, [
    attribute(RTA_GATEWAY, gateway.bytes),
    attribute(RTA_OIF, number32(index)),
  ]);
}

/** Sends one request and waits for the kernel's acknowledgement, which comes at once. */
export function request(bytes: Uint8Array, what: string): void {
  const socket = check(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0), "socket AF_NETLINK");
  try {
    check(libc.send(socket, bytes, BigInt(bytes.length), 0), what);
    const answer = new Uint8Array(ANSWER_BYTES);
    check(libc.recv(socket, answer, BigInt(answer.length), 0), what);
    const view = new DataView(answer.buffer);
    assert(view.getUint16(4, true) === NLMSG_ERROR, `netlink answered with type ${view.getUint16(4, true)}`);
    const error = view.getInt32(NLMSGHDR_BYTES, true);
    if (error !== 0) throw new SystemError(what, -error);
  } finally {
    libc.close(socket);
  }
}

/** Step network: loopback and the machine's interface, with addresses and default routes; the private network's, where it is another. */
import { readdirSync } from "node:fs";
import { isIP } from "node:net";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { BootError } from "../system/error.ts";
import { libc, text } from "../system/libc.ts";
import {
  type Address,
  addressMessage,
  defaultRouteMessage,
  linkUpMessage,
  request,
} from "../system/netlink.ts";
import { skip, type Skipped } from "./life.ts";

/** A container's interface is moved into it after its start; a VM's is there before. */
const INTERFACE_WAIT_MS = 5_000;
const INTERFACE_POLL_MS = 10;

export async function setUpNetwork(
  { network, private_network: own }: Pick<RunConfig, "network" | "private_network">,
): Promise<void | Skipped> {
  const loopback = indexOf("lo");
  if (loopback !== 0) request(linkUpMessage(loopback, null), "bring up lo");
  if (own !== undefined) {
    const index = await bringUp(own.interface, own.mtu);
    request(addressMessage(index, parseAddress(own.address6)), `add ${own.address6} to ${own.interface}`);
  }
  if (network === null) return skip("the run configuration has no network");
  const name = network.interface;
  const index = await bringUp(name, network.mtu);
  for (const address of [network.address4, network.address6]) {
    if (address !== null) request(addressMessage(index, parseAddress(address)), `add ${address} to ${name}`);
  }
  for (const gateway of [network.gateway4, network.gateway6]) {
    if (gateway === null) continue;
    request(defaultRouteMessage(index, parseAddress(gateway)), `route by default over ${gateway} on ${name}`);
  }
}

async function bringUp(name: string, mtu: number): Promise<number> {
  const index = await indexOfSoon(name);
  request(linkUpMessage(index, mtu), `bring up ${name} with MTU ${mtu}`);
  return index;
}

async function indexOfSoon(name: string): Promise<number> {
  const deadline = performance.now() + INTERFACE_WAIT_MS;
  for (;;) {
    const index = indexOf(name);
    if (index !== 0) return index;
    if (performance.now() > deadline) {
      const met = readdirSync("/sys/class/net").join(", ");
      throw new BootError(
        `Cannot set up the network interface ${name}: not there after ${INTERFACE_WAIT_MS} ms (met: ${met})`,
      );
    }
    await Bun.sleep(INTERFACE_POLL_MS);
  }
}

function indexOf(name: string): number {
  return libc.if_nametoindex(text(name));
}

/** `172.30.0.3/31`, `fd00::1/64`, or without a length for one host. */
export function parseAddress(written: string): Address {
  const [host = "", length] = written.split("/");
  const family = isIP(host);
  if (family === 4) {
    return { family, bytes: Uint8Array.from(host.split("."), Number), prefixLength: Number(length ?? 32) };
  }
  if (family === 6) return { family, bytes: bytesOf6(host), prefixLength: Number(length ?? 128) };
  throw new BootError(`Cannot use the address "${written}": it is neither IPv4 nor IPv6`);
}

function bytesOf6(host: string): Uint8Array {
  // The URL parser turns a dotted tail into groups, so that only `::` is left to expand.
  const plain = new URL(`http://[${host}]/`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const groups = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = new Array<number>(8 - left.length - right.length).fill(0);
  return Uint8Array.from([...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 0xff]));
}

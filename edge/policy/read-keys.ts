/**
 * Fetches a key set. Its URL was chosen by whoever deployed the app, and the edge stands inside the operator's network:
 * only HTTPS to public addresses is asked, no redirect is followed, and time and size are bounded. `privately` lifts the
 * first, for operators whose issuer is inside and for tests.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import type { JSONWebKeySet } from "jose";

export const KEYS_WAIT_MS_MAX = 5_000;
export const KEYS_BYTES_MAX = 65_536;
export const KEYS_MAX = 32;

/** What is not the public Internet (RFC 6890), as far as a machine of somebody's could be there. */
const inside = new BlockList();
for (
  const [address, bits] of [
    ["0.0.0.0", 8],
    ["10.0.0.0", 8],
    ["100.64.0.0", 10],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["172.16.0.0", 12],
    ["192.0.0.0", 24],
    ["192.168.0.0", 16],
    ["198.18.0.0", 15],
    ["224.0.0.0", 3],
  ] as const
) inside.addSubnet(address, bits, "ipv4");
/** Of IPv6 only global unicast is asked, and of that not what carries an IPv4 address inside. */
const outside6 = new BlockList();
outside6.addSubnet("2000::", 3, "ipv6");
const carriers6 = new BlockList();
carriers6.addSubnet("2001::", 32, "ipv6");
carriers6.addSubnet("2002::", 16, "ipv6");

/** Is this an address of the public Internet? */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !inside.check(address, "ipv4");
  return isIP(address) === 6 && outside6.check(address, "ipv6") && !carriers6.check(address, "ipv6");
}

/** @param privately plain HTTP and private addresses too */
export async function readKeys(url: string, privately: boolean): Promise<JSONWebKeySet> {
  const signal = AbortSignal.timeout(KEYS_WAIT_MS_MAX);
  if (!privately) await mustBePublic(new URL(url));
  const response = await fetch(url, { signal, redirect: "error", headers: { accept: "application/json" } });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}`);
  }
  const set = JSON.parse(await boundedText(response, url)) as JSONWebKeySet;
  if (!Array.isArray(set.keys) || set.keys.length > KEYS_MAX) {
    throw new Error(`${url} is not a set of at most ${KEYS_MAX} keys`);
  }
  return set;
}

async function mustBePublic(url: URL): Promise<void> {
  if (url.protocol !== "https:") throw new Error(`${url.origin} is not asked: a key set comes over HTTPS`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const addresses = isIP(host) === 0
    ? (await lookup(host, { all: true })).map(({ address }) => address)
    : [host];
  const wrong = addresses.find((address) => !isPublic(address));
  if (wrong !== undefined) throw new Error(`${url.host} is not asked: ${wrong} is not a public address`);
}

async function boundedText(response: Response, url: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > KEYS_BYTES_MAX) throw new Error(`${url} is larger than ${KEYS_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Which server of a Redis Cluster has a key, by what CLUSTER SLOTS answers. Pure. */
import { assert } from "./errors.ts";
import type { RedisHost } from "./redis-url.ts";

export const SLOTS = 16_384;

export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly primary: RedisHost;
}

/** CRC-16 (XMODEM) of the key, or of what stands between its first braces (Redis Cluster specification, "hash tags"). */
export function keySlot(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  let crc = 0;
  for (const byte of Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  }
  return (crc & 0xffff) % SLOTS;
}

/**
 * @param answer [from, to, [host, port, …] of the primary, … of replicas][]
 * @param asked a server that does not know its own address leaves it out
 */
export function readSlots(answer: unknown, asked: RedisHost): SlotRange[] {
  assert(Array.isArray(answer), "CLUSTER SLOTS answers with an array");
  return answer.map((range: unknown[]) => {
    const [host, port] = range[2] as [unknown, unknown];
    const name = typeof host === "string" && host !== "" && host !== "?" ? host : asked.host;
    return { from: Number(range[0]), to: Number(range[1]), primary: { host: name, port: Number(port) } };
  });
}

/** Null while nobody has the slot. */
export function primaryOf(ranges: readonly SlotRange[], slot: number): RedisHost | null {
  return ranges.find(({ from, to }) => from <= slot && slot <= to)?.primary ?? null;
}

/** Each once. */
export function primariesOf(ranges: readonly SlotRange[]): RedisHost[] {
  return [...new Map(ranges.map(({ primary }) => [`${primary.host}:${primary.port}`, primary])).values()];
}

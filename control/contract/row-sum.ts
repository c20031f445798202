/**
 * Sums over sets of rows, for digests. A row's sum is a hash of its table, key and version; a set's is the XOR of its
 * rows' sums, so that a change costs two XORs whatever the size of the set, and no order matters. It is there against
 * accidents, not against an adversary, who could choose keys whose sums cancel out: signatures are against those.
 */
import { hash } from "node:crypto";
import type { Version } from "./events.ts";

/** 16 bytes as 32 hexadecimal digits. */
export const EMPTY_SUM = "0".repeat(32);

/** The first 16 bytes of SHA-256(`table NUL key NUL epoch NUL seq`), in hexadecimal. */
export function rowSum(table: string, key: string, version: Version): string {
  return hash("sha256", `${table}\0${key}\0${version.epoch}\0${version.seq}`, "hex").slice(0, 32);
}

/** A sum that many rows are added to or taken from: XOR does both. */
export class RunningSum {
  readonly #lanes: Uint32Array;

  constructor(sum: string = EMPTY_SUM) {
    this.#lanes = lanesOf(sum);
  }

  toggle(sum: string): void {
    // Once or twice a row: nothing is allocated.
    for (let i = 0; i < 4; i++) this.#lanes[i]! ^= laneOf(sum, i);
  }

  toString(): string {
    return Array.from(this.#lanes, (lane) => lane.toString(16).padStart(8, "0")).join("");
  }
}

function lanesOf(sum: string): Uint32Array {
  return Uint32Array.from({ length: 4 }, (_, i) => laneOf(sum, i));
}

function laneOf(sum: string, lane: number): number {
  return Number.parseInt(sum.slice(lane * 8, lane * 8 + 8), 16);
}

/**
 * What one host knows of another, and which of two pieces of news is the newer one. News of a host are ordered by
 * (incarnation, state), whoever tells them and in whatever order they come: a host alone raises its incarnation, and
 * within one incarnation it only gets worse. Old gossip can therefore arrive at any time and change nothing.
 */
import type { MemberState } from "../contract/membership.ts";

export interface Address {
  /** An IP address; a seed's may be a name. */
  readonly address: string;
  readonly port: number;
}

/** What travels. */
export interface News {
  readonly id: string;
  readonly state: MemberState;
  readonly incarnation: number;
  readonly at: Address;
  /** Of a suspicion: who suspects. */
  readonly from: string | null;
  /** Of a death or a leave: how long ago, in seconds. */
  readonly ageS: number;
}

/** What is kept. */
export interface Member {
  readonly id: string;
  /** As the fleet has it. */
  state: MemberState;
  incarnation: number;
  at: Address;
  /** Since when, monotonic; of the dead it says when they may be forgotten. */
  sinceMs: number;
  addressSinceMs: number;
  /** Deaths not long ago (`flaps.ts`), as of `flapsAtMs`. */
  flaps: number;
  flapsAtMs: number;
  /** Back too soon after too many deaths: told as suspect until then. */
  heldUntilMs: number;
  /** What was told last. */
  told: MemberState | null;
  toldAtMs: number;
}

/** Incarnations travel in 48 bits: milliseconds since 1970 until the year 10889. */
export const INCARNATION_MAX = 2 ** 48 - 1;

const RANK: Record<MemberState, number> = { alive: 0, suspect: 1, dead: 2, left: 3 };

export function supersedes(
  news: Pick<News, "incarnation" | "state">,
  known: Pick<News, "incarnation" | "state">,
): boolean {
  if (news.incarnation !== known.incarnation) return news.incarnation > known.incarnation;
  return RANK[news.state] > RANK[known.state];
}

export function isLive(state: MemberState): boolean {
  return state === "alive" || state === "suspect";
}

export function sameAddress(one: Address, two: Address): boolean {
  return one.port === two.port && one.address === two.address;
}

/**
 * Says whether two hosts know the same of the fleet: XOR over its members. A suspicion passes, so it is not in it.
 * Not against an adversary; those have no key.
 */
export function memberSum(id: string, state: MemberState, incarnation: number): number {
  // FNV-1a, with a last mix so that incarnations that differ in one bit do not cancel out over two members.
  let hash = 0x811c9dc5;
  const add = (byte: number) => hash = Math.imul(hash ^ byte, 0x01000193);
  for (let i = 0; i < id.length; i++) add(id.charCodeAt(i));
  for (let rest = incarnation, i = 0; i < 6; i++, rest = Math.floor(rest / 256)) add(rest % 256);
  add(isLive(state) ? 0 : RANK[state]);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ hash >>> 13) >>> 0;
}

/** What is held of a member, as news. */
export function newsOf({ id, state, incarnation, at, sinceMs }: Member, nowMs: number): News {
  const ageS = isLive(state) ? 0 : Math.max(0, Math.floor((nowMs - sinceMs) / 1_000));
  return { id, state, incarnation, at, from: null, ageS };
}

/** All hosts that are known, the own one excepted: bounded, with those who are live drawn and probed in order. */
import { MEMBERS_MAX } from "../contract/membership.ts";
import { isLive, type Member, memberSum } from "./member.ts";
import { ProbeOrder } from "./probe-order.ts";

export class MemberTable {
  readonly #members = new Map<string, Member>();
  readonly #live: Member[] = [];
  readonly #order: ProbeOrder;
  readonly #random: () => number;
  readonly #membersMax: number;

  constructor(random: () => number, membersMax: number = MEMBERS_MAX) {
    this.#random = random;
    this.#membersMax = membersMax;
    this.#order = new ProbeOrder(random);
  }

  get size(): number {
    return this.#members.size;
  }
  get live(): readonly Member[] {
    return this.#live;
  }
  get(id: string): Member | undefined {
    return this.#members.get(id);
  }
  all(): Iterable<Member> {
    return this.#members.values();
  }

  /** @returns false where the table is full of live members: then the fleet is larger than the bound */
  add(member: Member): boolean {
    if (this.#members.size >= this.#membersMax && !this.#evict()) return false;
    this.#members.set(member.id, member);
    this.place(member);
    return true;
  }

  /** To be called after each change of `state`. */
  place(member: Member): void {
    const at = this.#live.indexOf(member);
    if (isLive(member.state) === (at !== -1)) return;
    if (at === -1) {
      this.#live.push(member);
      this.#order.add(member.id);
    } else {
      this.#live[at] = this.#live.at(-1)!;
      this.#live.pop();
      this.#order.remove(member.id);
    }
  }

  remove(member: Member): void {
    this.#members.delete(member.id);
  }

  nextToProbe(wanted: (id: string) => boolean): Member | null {
    const id = this.#order.next(wanted);
    return id === null ? null : this.#members.get(id)!;
  }

  /** Live ones, drawn at random without repeats. */
  draw(count: number, except: string | null = null): Member[] {
    const pool = except === null ? [...this.#live] : this.#live.filter(({ id }) => id !== except);
    const drawn: Member[] = [];
    while (drawn.length < count && pool.length > 0) {
      const at = Math.floor(this.#random() * pool.length);
      drawn.push(pool[at]!);
      pool[at] = pool.at(-1)!;
      pool.pop();
    }
    return drawn;
  }

  gone(): Member[] {
    return [...this.#members.values()].filter(({ state }) => !isLive(state));
  }

  sum(): number {
    let sum = 0;
    for (const { id, state, incarnation } of this.#members.values()) sum ^= memberSum(id, state, incarnation);
    return sum >>> 0;
  }

  /** Who has been gone for the longest makes room. */
  #evict(): boolean {
    let oldest: Member | null = null;
    for (const member of this.#members.values()) {
      if (!isLive(member.state) && (oldest === null || member.sinceMs < oldest.sinceMs)) oldest = member;
    }
    if (oldest === null) return false;
    this.remove(oldest);
    return true;
  }
}

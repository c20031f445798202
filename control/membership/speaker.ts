/**
 * What a host says: it fills each datagram with the news that others need most, and keeps within its bounds. Whoever is
 * not held for alive hears that first, so that it can object.
 */
import { GossipQueue } from "./gossip-queue.ts";
import { type Address, type Member, memberSum, type News, newsOf } from "./member.ts";
import type { MemberTable } from "./member-table.ts";
import type { MembershipCounts } from "./membership-counts.ts";
import { type Body, bodyBytes, type Message, NEWS_MAX, newsBytes, PAYLOAD_BYTES_MAX } from "./message.ts";
import { retransmits, STATES_PER_S_MAX, type Timing } from "./timing.ts";

export interface Send {
  readonly to: Address;
  readonly message: Message;
}

export class Speaker {
  incarnation: number;
  leaving = false;
  /** When gossip is due; Infinity where there is nothing to tell. */
  gossipAtMs = Infinity;
  readonly #id: string;
  readonly #at: Address;
  readonly #timing: Timing;
  readonly #table: MemberTable;
  readonly #counts: MembershipCounts;
  readonly #queue = new GossipQueue();
  #gossipedMs = -Infinity;
  /** Whole states that may still be sent, as of the last look. */
  #states = STATES_PER_S_MAX;
  #statesAtMs: number | null = null;
  #sends: Send[] = [];

  constructor(
    id: string,
    at: Address,
    incarnation: number,
    timing: Timing,
    table: MemberTable,
    counts: MembershipCounts,
  ) {
    this.#id = id;
    this.#at = at;
    this.incarnation = incarnation;
    this.#timing = timing;
    this.#table = table;
    this.#counts = counts;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** What is to be sent since the last time. */
  take(): Send[] {
    const sends = this.#sends;
    this.#sends = [];
    return sends;
  }

  ownNews(): News {
    const state = this.leaving ? "left" : "alive";
    return { id: this.#id, state, incarnation: this.incarnation, at: this.#at, from: null, ageS: 0 };
  }

  /** Fresh news does not wait for a whole interval. */
  spread(news: News, nowMs: number): void {
    this.#queue.put(news);
    const soonMs = Math.max(nowMs, this.#gossipedMs + this.#timing.gossipIntervalMs / 2);
    this.gossipAtMs = Math.min(this.gossipAtMs, soonMs);
  }

  forget(id: string): void {
    this.#queue.drop(id);
  }

  gossip(nowMs: number): void {
    if (nowMs < this.gossipAtMs) return;
    const { gossipFanout, gossipIntervalMs } = this.#timing;
    for (const member of this.#table.draw(gossipFanout)) {
      if (this.#queue.size > 0) this.send(member.at, { kind: "gossip" }, member);
    }
    this.#gossipedMs = nowMs;
    const more = this.#queue.size > 0 && this.#table.live.length > 0;
    this.gossipAtMs = more ? nowMs + gossipIntervalMs : Infinity;
  }

  /** Of all that is known, the own host included. */
  sum(): number {
    return (this.#table.sum() ^ memberSum(this.#id, "alive", this.incarnation)) >>> 0;
  }

  compare(to: Address, member: Member | null, back: boolean): void {
    this.send(to, { kind: "compare", sum: this.sum(), back }, member, this.ownNews());
  }

  /** Whole states, and requests for them, within a bound: otherwise whoever asks could make this host flood another. */
  mayTell(nowMs: number): boolean {
    const passedMs = nowMs - (this.#statesAtMs ?? nowMs);
    this.#states = Math.min(STATES_PER_S_MAX, this.#states + passedMs / 1_000 * STATES_PER_S_MAX);
    this.#statesAtMs = nowMs;
    if (this.#states < 1) {
      this.#counts.statesRefused++;
      return false;
    }
    this.#states--;
    return true;
  }

  /** The whole state, in as many datagrams as it takes. */
  tellAll(to: Address, nowMs: number): void {
    const body: Body = { kind: "state" };
    const empty = PAYLOAD_BYTES_MAX - bodyBytes(this.#id, body);
    let news: News[] = [], room = empty;
    const add = (each: News) => {
      const size = newsBytes(each);
      if (size > room || news.length === NEWS_MAX) {
        this.#push(to, body, news);
        news = [];
        room = empty;
      }
      news.push(each);
      room -= size;
    };
    add(this.ownNews());
    for (const member of this.#table.all()) add(newsOf(member, nowMs));
    this.#push(to, body, news);
  }

  /**
   * @param member who it is for, where that is known: unless it is alive, it hears first what is held of it
   * @param said to be said first, instead
   */
  send(to: Address, body: Body, member: Member | null, said: News | null = null): void {
    const held = member === null || member.state === "alive" ? null : newsOf(member, member.sinceMs);
    const first = said ?? held;
    const news = first === null ? [] : [first];
    const room = PAYLOAD_BYTES_MAX - bodyBytes(this.#id, body) - (first === null ? 0 : newsBytes(first));
    // Whoever is not known may have made its address up: it gets no more than it sent.
    if (member !== null) {
      const times = retransmits(this.#timing, this.#table.live.length + 1);
      news.push(...this.#queue.take(room, newsBytes, times, member.id));
    }
    this.#push(to, body, news);
  }

  #push(to: Address, body: Body, news: readonly News[]): void {
    this.#counts.sent[body.kind]++;
    this.#sends.push({ to, message: { ...body, id: this.#id, incarnation: this.incarnation, news } });
  }
}

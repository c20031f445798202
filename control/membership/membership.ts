/**
 * One host's part in SWIM (Das, Gupta, Motivala 2002), with Lifeguard's corrections (Dadgar, Phillips, Currey 2018): a
 * state machine without clock, socket or dice of its own. What happens goes in (`start`, `receive`, `advance`, `leave`);
 * what is to be sent and what is to be told comes out. README.md has the life of a member as a chart.
 *
 * Two rules go beyond the papers. Whoever writes to a host that it does not take for alive tells it so first, so that the
 * host can object at once. And a death that only a comparison of states brings up is not believed but probed: after a
 * partition each side holds the other for dead, and must not bury its own members on the other's word.
 */
import type { MemberState } from "../contract/membership.ts";
import { flapsAfter, holdMs } from "./flaps.ts";
import { LocalHealth } from "./local-health.ts";
import {
  type Address,
  INCARNATION_MAX,
  isLive,
  type Member,
  type News,
  newsOf,
  sameAddress,
  supersedes,
} from "./member.ts";
import { MemberTable } from "./member-table.ts";
import { MembershipCounts } from "./membership-counts.ts";
import type { Message } from "./message.ts";
import { type Due, Probes } from "./probes.ts";
import { type Send, Speaker } from "./speaker.ts";
import { Suspicions } from "./suspicions.ts";
import { ADDRESS_INTERVAL_MS, STALL_MS, TIMING, type Timing } from "./timing.ts";

export interface MembershipOptions {
  readonly id: string;
  /** Where others reach this host. */
  readonly at: Address;
  readonly seeds: readonly Address[];
  /** Higher than in the life before: milliseconds since 1970 when the agent began. */
  readonly incarnation: number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly timing?: Timing;
  readonly membersMax?: number;
}

export interface Change {
  readonly id: string;
  readonly state: MemberState;
  readonly incarnation: number;
}

export interface Effects {
  readonly sends: readonly Send[];
  readonly changes: readonly Change[];
}

/** Seeds tried at a time. */
const SEEDS_AT_ONCE = 3;
/** Asked for, of each that is needed: some are asked in vain. */
const SECOND_OPINIONS = 2;
const SWEEP_INTERVAL_MS = 5_000;

export class Membership {
  readonly counts = new MembershipCounts();
  readonly health = new LocalHealth();
  readonly #options: MembershipOptions;
  readonly #timing: Timing;
  readonly #random: () => number;
  readonly #table: MemberTable;
  readonly #speaker: Speaker;
  readonly #probes: Probes;
  readonly #suspicions: Suspicions;
  readonly #held = new Set<Member>();
  #joinTries = 0;
  #dueMs = Infinity;
  readonly #at = { probe: 0, compare: 0, seed: 0, reconnect: 0, sweep: 0 };
  #changes: Change[] = [];

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.#timing = options.timing ?? TIMING;
    this.#random = options.random;
    this.#table = new MemberTable(options.random, options.membersMax);
    const { id, at, incarnation } = options;
    this.#speaker = new Speaker(id, at, incarnation, this.#timing, this.#table, this.counts);
    this.#probes = new Probes(this.#timing, Math.floor(options.random() * 2 ** 32));
    this.#suspicions = new Suspicions(this.#timing);
  }

  get id(): string {
    return this.#options.id;
  }
  get incarnation(): number {
    return this.#speaker.incarnation;
  }
  /** Live members, the own one included. */
  get live(): number {
    return this.#table.live.length + 1;
  }
  get table(): MemberTable {
    return this.#table;
  }
  get queued(): number {
    return this.#speaker.queued;
  }

  /** As it is told: for the own host always alive, until it leaves. */
  stateOf(id: string): MemberState | null {
    if (id === this.id) return this.#speaker.leaving ? "left" : "alive";
    return this.#table.get(id)?.told ?? null;
  }

  /** When `advance` is to be called, at the latest. */
  nextMs(): number {
    const { probe, compare, seed, reconnect, sweep } = this.#at;
    const { gossipAtMs } = this.#speaker;
    if (this.#speaker.leaving) return gossipAtMs;
    let next = Math.min(gossipAtMs, compare, seed, reconnect, sweep);
    if (this.#table.live.length > 0) next = Math.min(next, probe);
    for (const { heldUntilMs } of this.#held) next = Math.min(next, heldUntilMs);
    return Math.min(next, this.#probes.nextMs(), this.#suspicions.nextMs());
  }

  start(nowMs: number): Effects {
    const { probeIntervalMs, syncIntervalMs, reconnectIntervalMs } = this.#timing;
    // Drawn, so that agents that were started together do not act together.
    this.#at.probe = nowMs + this.#random() * probeIntervalMs;
    this.#at.compare = nowMs + this.#random() * syncIntervalMs;
    this.#at.reconnect = nowMs + this.#random() * reconnectIntervalMs;
    this.#at.seed = nowMs;
    this.#at.sweep = nowMs + SWEEP_INTERVAL_MS;
    this.#dueMs = nowMs;
    this.#speaker.spread(this.#speaker.ownNews(), nowMs);
    return this.advance(nowMs);
  }

  /** Says good-bye; `advance` is to be called for some rounds more. */
  leave(nowMs: number): Effects {
    this.#speaker.leaving = true;
    this.#speaker.spread(this.#speaker.ownNews(), nowMs);
    return this.#effects();
  }

  /** @param from where the datagram came from: answers go to where the sender says it is, once it has said so */
  receive(message: Message, from: Address, nowMs: number): Effects {
    if (message.id === this.id) {
      // Its own datagram that somebody sent back, or another host with its name.
      if (!sameAddress(from, this.#options.at)) this.counts.twins++;
      return this.#effects();
    }
    if (this.#speaker.leaving) return this.#effects();
    let accused = false;
    for (const news of message.news) {
      if (news.id === this.id) accused = this.#hearOfSelf(news, nowMs) || accused;
      else this.#hear(news, message.kind === "state", nowMs);
    }
    const sender = this.#table.get(message.id);
    const to = sender?.at ?? from;
    this.#answer(message, sender ?? null, to, nowMs);
    // What it holds of us is old, and what we said about it may have been lost.
    if (accused) this.#speaker.send(to, { kind: "gossip" }, sender ?? null);
    const stranger = sender === undefined && message.kind !== "compare";
    if (stranger && this.#speaker.mayTell(nowMs)) this.#speaker.compare(to, null, false);
    return this.#effects();
  }

  /** Does what is due. */
  advance(nowMs: number): Effects {
    const lateMs = nowMs - this.#dueMs;
    if (lateMs > STALL_MS) {
      this.counts.stalls++;
      this.health.worse();
      this.#probes.postpone(lateMs);
      this.#suspicions.postpone(lateMs);
    }
    if (this.#speaker.leaving) {
      this.#speaker.gossip(nowMs);
      return this.#effects();
    }
    for (const due of this.#probes.due(nowMs)) this.#probeDue(due, nowMs);
    for (const id of this.#suspicions.expired(nowMs)) {
      const member = this.#table.get(id)!;
      this.counts.deaths++;
      this.#move(member, { ...newsOf(member, nowMs), state: "dead", from: null }, nowMs);
    }
    for (const member of this.#held) {
      if (nowMs < member.heldUntilMs) continue;
      this.#held.delete(member);
      this.#tell(member, nowMs);
    }
    this.#probeNext(nowMs);
    this.#speaker.gossip(nowMs);
    this.#compareNext(nowMs);
    this.#trySeeds(nowMs);
    this.#reconnect(nowMs);
    this.#sweep(nowMs);
    return this.#effects();
  }

  #effects(): Effects {
    const effects = { sends: this.#speaker.take(), changes: this.#changes };
    this.#changes = [];
    this.#dueMs = this.nextMs();
    return effects;
  }

  // What is heard.

  #answer(message: Message, sender: Member | null, to: Address, nowMs: number): void {
    switch (message.kind) {
      case "ping":
        // Another host had this address before.
        if (message.target !== this.id) this.counts.misdirected++;
        else this.#speaker.send(to, { kind: "ack", sequence: message.sequence }, sender);
        break;
      case "ack": {
        const answered = this.#probes.acked(message.sequence, message.id);
        if (answered === null) break;
        if ("failsAtMs" in answered) {
          this.health.better();
          break;
        }
        const asker = this.#table.get(answered.asker);
        if (asker !== undefined) {
          this.#speaker.send(asker.at, { kind: "ack", sequence: answered.askerSequence }, asker);
        }
        break;
      }
      case "nack":
        this.#probes.nacked(message.sequence, message.id);
        break;
      case "ask": {
        const target = this.#table.get(message.target);
        if (target === undefined || sender === null) break;
        const sequence = this.#probes.relay(sender.id, message.sequence, target.id, nowMs);
        if (sequence === null) this.counts.relaysRefused++;
        else this.#speaker.send(target.at, { kind: "ping", sequence, target: target.id }, target);
        break;
      }
      case "compare":
        if (message.sum === this.#speaker.sum() || !this.#speaker.mayTell(nowMs)) break;
        this.#speaker.tellAll(to, nowMs);
        if (!message.back) this.#speaker.compare(to, sender, true);
        break;
      case "gossip":
      case "state":
        break;
    }
  }

  /** @param compared it came with a comparison of states, and not because it has just happened */
  #hear(news: News, compared: boolean, nowMs: number): void {
    const known = this.#table.get(news.id);
    if (known === undefined) return this.#meet(news, nowMs);
    if (!supersedes(news, known)) {
      const shared = news.state === "suspect" && known.state === "suspect" &&
        news.incarnation === known.incarnation;
      if (shared && this.#suspicions.confirm(news.id, news.from, this.live)) {
        this.#speaker.spread(news, nowMs);
      }
      return;
    }
    if (compared && news.state === "dead" && isLive(known.state)) {
      this.#probe(known, nowMs, news);
      return;
    }
    const moved = !sameAddress(news.at, known.at);
    if (moved && isLive(known.state) && nowMs - known.addressSinceMs < ADDRESS_INTERVAL_MS) {
      this.counts.addressesRefused++;
      return;
    }
    this.#move(known, news, nowMs);
  }

  #meet(news: News, nowMs: number): void {
    const goneMs = news.ageS * 1_000;
    // Soon to be forgotten: to take it over would keep it in the fleet for ever.
    if (!isLive(news.state) && goneMs > this.#timing.forgetMs * 0.9) return;
    const member: Member = {
      id: news.id,
      state: news.state,
      incarnation: news.incarnation,
      at: news.at,
      sinceMs: nowMs - goneMs,
      addressSinceMs: -Infinity,
      flaps: 0,
      flapsAtMs: nowMs,
      heldUntilMs: -Infinity,
      told: null,
      toldAtMs: nowMs,
    };
    if (!this.#table.add(member)) {
      this.counts.membersRefused++;
      return;
    }
    if (news.state === "suspect") this.#suspicions.start(news.id, news.from, this.live, nowMs);
    this.#placed(news, member, nowMs);
  }

  /** @returns whether somebody says that this host is not alive */
  #hearOfSelf(news: News, nowMs: number): boolean {
    const bad = news.state !== "alive";
    if (!bad && news.incarnation === this.#speaker.incarnation && !sameAddress(news.at, this.#options.at)) {
      this.counts.twins++;
    }
    if (
      news.incarnation > this.#speaker.incarnation || (bad && news.incarnation === this.#speaker.incarnation)
    ) {
      this.#speaker.incarnation = Math.min(INCARNATION_MAX, news.incarnation + 1);
      if (news.state === "suspect" || news.state === "dead") {
        this.counts.refutations++;
        this.health.worse();
      }
      this.#speaker.spread(this.#speaker.ownNews(), nowMs);
    } else if (bad) this.#speaker.spread(this.#speaker.ownNews(), nowMs);
    return bad;
  }

  /** The one place where a member's state changes. */
  #move(member: Member, news: News, nowMs: number): void {
    const before = member.state;
    if (!sameAddress(member.at, news.at)) {
      member.at = news.at;
      member.addressSinceMs = nowMs;
    }
    member.state = news.state;
    member.incarnation = news.incarnation;
    member.sinceMs = nowMs - news.ageS * 1_000;
    if (news.state === "suspect") this.#suspicions.start(member.id, news.from, this.live, nowMs);
    else this.#suspicions.end(member.id);
    if (news.state === "dead" && isLive(before)) {
      member.flaps = flapsAfter(member.flaps, nowMs - member.flapsAtMs) + 1;
      member.flapsAtMs = nowMs;
    }
    if (before === "dead" && isLive(news.state)) {
      member.heldUntilMs = nowMs + holdMs(flapsAfter(member.flaps, nowMs - member.flapsAtMs));
      if (member.heldUntilMs > nowMs) this.#held.add(member);
    }
    if (!isLive(news.state)) this.#held.delete(member);
    this.#table.place(member);
    this.#placed(news, member, nowMs);
    if (news.state === "suspect" && news.from !== this.id) this.#secondOpinion(member, nowMs);
  }

  /** Somebody suspects it: a few of those who hear so look for themselves, so that the suspicion is soon over. */
  #secondOpinion(member: Member, nowMs: number): void {
    const others = this.live - 2;
    if (this.#random() * others < SECOND_OPINIONS * this.#timing.confirmations) this.#probe(member, nowMs);
  }

  #placed(news: News, member: Member, nowMs: number): void {
    // With nobody to probe its time went by.
    if (this.#table.live.length === 1) this.#at.probe = Math.max(this.#at.probe, nowMs);
    this.#speaker.spread(news, nowMs);
    this.#tell(member, nowMs);
  }

  #tell(member: Member, nowMs: number): void {
    const state = member.state === "alive" && this.#held.has(member) ? "suspect" : member.state;
    if (state === member.told) return;
    member.told = state;
    member.toldAtMs = nowMs;
    this.#changes.push({ id: member.id, state, incarnation: member.incarnation });
  }

  // What is due.

  #probeNext(nowMs: number): void {
    if (nowMs < this.#at.probe) return;
    this.#at.probe = nowMs + this.#timing.probeIntervalMs * this.health.scale;
    const member = this.#table.nextToProbe((id) => !this.#probes.probing(id));
    if (member !== null) this.#probe(member, nowMs);
  }

  /** @param said what the member should hear about itself; else what is held of it here */
  #probe(member: Member, nowMs: number, said: News | null = null): void {
    const sequence = this.#probes.start(member.id, nowMs, this.health.scale);
    if (sequence === null) return;
    this.counts.probes++;
    this.#speaker.send(member.at, { kind: "ping", sequence, target: member.id }, member, said);
  }

  #probeDue(due: Due, nowMs: number): void {
    if (due.what === "help") {
      const { sequence, probe } = due;
      const relays = this.#table.draw(this.#timing.relays, probe.target);
      probe.asked = relays.map(({ id }) => id);
      for (const relay of relays) {
        this.#speaker.send(relay.at, { kind: "ask", sequence, target: probe.target }, relay);
      }
    } else if (due.what === "nack") {
      const asker = this.#table.get(due.relay.asker);
      if (asker !== undefined) {
        this.#speaker.send(asker.at, { kind: "nack", sequence: due.relay.askerSequence }, asker);
      }
    } else {
      const { target, asked, nacks } = due.probe;
      this.counts.probesFailed++;
      // Who asked for help and heard from nobody may be the one that is cut off.
      if (asked.length > 0 && nacks.size === 0) this.health.worse();
      const member = this.#table.get(target);
      if (member === undefined || !isLive(member.state)) return;
      const news: News = { ...newsOf(member, nowMs), state: "suspect", from: this.id };
      if (member.state === "alive") {
        this.counts.suspicions++;
        this.#move(member, news, nowMs);
      } else if (this.#suspicions.confirm(target, this.id, this.live)) this.#speaker.spread(news, nowMs);
    }
  }

  #compareNext(nowMs: number): void {
    if (nowMs < this.#at.compare) return;
    this.#at.compare = nowMs + this.#timing.syncIntervalMs * (0.5 + this.#random());
    const [member] = this.#table.draw(1);
    if (member !== undefined) this.#speaker.compare(member.at, member, false);
  }

  /** Until there is anybody, and later where a seed is no member: it may be on the other side of a partition long ago. */
  #trySeeds(nowMs: number): void {
    if (nowMs < this.#at.seed) return;
    const { joinMs, joinMsMax, seedIntervalMs } = this.#timing;
    const alone = this.#table.live.length === 0;
    this.#joinTries = alone ? Math.min(this.#joinTries + 1, 16) : 0;
    const waitMs = alone ? Math.min(joinMsMax, joinMs * 2 ** (this.#joinTries - 1)) : seedIntervalMs;
    this.#at.seed = nowMs + waitMs * (0.5 + this.#random() / 2);
    const missing = this.#options.seeds.filter((seed) =>
      !sameAddress(seed, this.#options.at) && !this.#table.live.some(({ at }) => sameAddress(at, seed))
    );
    for (let tried = 0; tried < SEEDS_AT_ONCE && missing.length > 0; tried++) {
      const [seed] = missing.splice(Math.floor(this.#random() * missing.length), 1);
      this.#speaker.compare(seed!, null, false);
    }
  }

  /** Each of the dead is tried about once an interval by the whole fleet; by one that sees nobody, one an interval. */
  #reconnect(nowMs: number): void {
    if (nowMs < this.#at.reconnect) return;
    this.#at.reconnect = nowMs + this.#timing.reconnectIntervalMs * (0.5 + this.#random());
    const dead = this.#table.gone().filter(({ state }) => state === "dead");
    if (this.#random() * (dead.length + this.#table.live.length) >= dead.length) return;
    const member = dead[Math.floor(this.#random() * dead.length)]!;
    const sequence = this.#probes.nextSequence();
    this.#speaker.send(member.at, { kind: "ping", sequence, target: member.id }, member);
  }

  #sweep(nowMs: number): void {
    if (nowMs < this.#at.sweep) return;
    this.#at.sweep = nowMs + SWEEP_INTERVAL_MS;
    for (const member of this.#table.gone()) {
      if (nowMs - member.sinceMs < this.#timing.forgetMs) continue;
      this.#table.remove(member);
      this.#speaker.forget(member.id);
      const { id, incarnation, told } = member;
      if (told !== "left") this.#changes.push({ id, state: "left", incarnation });
    }
  }
}

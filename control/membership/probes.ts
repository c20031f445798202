/** Pings that wait for their answers: those of this host's own probes, and those it sends because others asked for it. */
import { PROBES_MAX, RELAYS_MAX, type Timing } from "./timing.ts";

export interface Probe {
  readonly target: string;
  /** Who was asked to try too. */
  asked: readonly string[];
  /** Who of them said that it is there and the target is not. */
  readonly nacks: Set<string>;
  helpAtMs: number;
  failsAtMs: number;
}

export interface Relay {
  readonly target: string;
  readonly asker: string;
  readonly askerSequence: number;
  nackAtMs: number;
  endsAtMs: number;
}

export type Due =
  | { readonly what: "help"; readonly sequence: number; readonly probe: Probe }
  | { readonly what: "failed"; readonly probe: Probe }
  | { readonly what: "nack"; readonly relay: Relay };

export class Probes {
  readonly #timing: Timing;
  readonly #probes = new Map<number, Probe>();
  readonly #relays = new Map<number, Relay>();
  #sequence: number;

  /** @param sequence the first one; drawn at random, so that another life's acks mean nothing */
  constructor(timing: Timing, sequence: number) {
    this.#timing = timing;
    this.#sequence = sequence;
  }

  get size(): number {
    return this.#probes.size;
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) % 2 ** 32;
    return this.#sequence;
  }

  /** @returns the ping's sequence; null where the target is being probed, or too many are */
  start(target: string, nowMs: number, scale: number): number | null {
    if (this.#probes.size >= PROBES_MAX || this.probing(target)) return null;
    const { directMs, probeMs } = this.#timing;
    const sequence = this.nextSequence();
    this.#probes.set(sequence, {
      target,
      asked: [],
      nacks: new Set(),
      helpAtMs: nowMs + directMs * scale,
      failsAtMs: nowMs + probeMs * scale,
    });
    return sequence;
  }

  probing(target: string): boolean {
    for (const probe of this.#probes.values()) if (probe.target === target) return true;
    return false;
  }

  /** @returns the ping's sequence; null where too many are under way */
  relay(asker: string, askerSequence: number, target: string, nowMs: number): number | null {
    if (this.#relays.size >= RELAYS_MAX) return null;
    const { directMs, probeMs } = this.#timing;
    const sequence = this.nextSequence();
    // Half of what the asker still waits: the rest is for the way back.
    const nackAtMs = nowMs + (probeMs - directMs) / 2;
    this.#relays.set(sequence, { target, asker, askerSequence, nackAtMs, endsAtMs: nowMs + probeMs });
    return sequence;
  }

  /** @returns what it answers, which is then over; null where nothing, or not for this sender to answer */
  acked(sequence: number, by: string): Probe | Relay | null {
    const probe = this.#probes.get(sequence);
    if (probe !== undefined) {
      if (by !== probe.target && !probe.asked.includes(by)) return null;
      this.#probes.delete(sequence);
      return probe;
    }
    const relay = this.#relays.get(sequence);
    if (relay === undefined || relay.target !== by) return null;
    this.#relays.delete(sequence);
    return relay;
  }

  nacked(sequence: number, by: string): void {
    const probe = this.#probes.get(sequence);
    if (probe?.asked.includes(by) === true) probe.nacks.add(by);
  }

  due(nowMs: number): Due[] {
    const due: Due[] = [];
    for (const [sequence, probe] of this.#probes) {
      if (nowMs >= probe.failsAtMs) {
        this.#probes.delete(sequence);
        due.push({ what: "failed", probe });
      } else if (nowMs >= probe.helpAtMs) {
        probe.helpAtMs = Infinity;
        due.push({ what: "help", sequence, probe });
      }
    }
    for (const [sequence, relay] of this.#relays) {
      if (nowMs >= relay.endsAtMs) this.#relays.delete(sequence);
      else if (nowMs >= relay.nackAtMs) {
        relay.nackAtMs = Infinity;
        due.push({ what: "nack", relay });
      }
    }
    return due;
  }

  nextMs(): number {
    let next = Infinity;
    for (const { helpAtMs, failsAtMs } of this.#probes.values()) next = Math.min(next, helpAtMs, failsAtMs);
    for (const { nackAtMs, endsAtMs } of this.#relays.values()) next = Math.min(next, nackAtMs, endsAtMs);
    return next;
  }

  /** This process stood still: the answers may lie in its socket. */
  postpone(byMs: number): void {
    for (const probe of this.#probes.values()) {
      probe.helpAtMs += byMs;
      probe.failsAtMs += byMs;
    }
    for (const relay of this.#relays.values()) {
      relay.nackAtMs += byMs;
      relay.endsAtMs += byMs;
    }
  }
}

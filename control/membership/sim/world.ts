/**
 * Hundreds of hosts in one process and no time at all: the real `Membership` and the real bytes, on a network that loses,
 * delays, doubles and reorders, with partitions, crashes, restarts, hosts that stand still, and clocks that run apart. All
 * of it comes out of one seed.
 */
import { assert } from "../../contract/errors.ts";
import type { MemberState } from "../../contract/membership.ts";
import { decode, encode, PAYLOAD_BYTES_MAX } from "../message.ts";
import { type Effects, Membership } from "../membership.ts";
import type { Timing } from "../timing.ts";
import { EventQueue } from "./event-queue.ts";
import { randomOf } from "./random.ts";

export interface Network {
  /** Of datagrams that never arrive. */
  loss: number;
  /** Of those that arrive twice. */
  duplication: number;
  delayMs: number;
  /** Added to it, drawn for each datagram: so they overtake one another. */
  jitterMs: number;
}

export interface WorldOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly timing?: Timing;
  readonly network?: Partial<Network>;
  /** Each clock runs up to this share too fast or too slow, and begins anywhere. */
  readonly clockDrift?: number;
  /** Wall clocks are wrong by up to this much: incarnations begin there. */
  readonly clockErrorMs?: number;
}

interface Host {
  readonly name: string;
  readonly port: number;
  readonly drift: number;
  readonly clockMs: number;
  wallErrorMs: number;
  membership: Membership | null;
  /** Of the present life's timers. */
  life: number;
  wakeMs: number;
  pausedUntilMs: number;
  side: number;
  sent: number;
  sentBytes: number;
}

type Event =
  | { readonly what: "arrives"; readonly bytes: Buffer; readonly from: number; readonly to: number }
  | { readonly what: "wakes"; readonly host: Host; readonly life: number };

const SEEDS = 3;
/** When the world begins, since 1970. */
const EPOCH_MS = 1_790_000_000_000;

export class World {
  readonly network: Network;
  readonly hosts: Host[] = [];
  readonly random: () => number;
  nowMs = 0;
  /** Someone told that a host that was up, and not cut off, is dead. */
  falseDeaths = 0;
  bytesMax = 0;
  membersMax = 0;
  readonly marks = new Map<string, number>();
  readonly #timing: Timing | undefined;
  readonly #events = new EventQueue<Event>();
  readonly #clockErrorMs: number;

  constructor(options: WorldOptions) {
    this.random = randomOf(options.seed);
    this.network = { loss: 0, duplication: 0, delayMs: 1, jitterMs: 1, ...options.network };
    this.#timing = options.timing;
    this.#clockErrorMs = options.clockErrorMs ?? 0;
    for (let i = 0; i < options.hosts; i++) {
      this.hosts.push({
        name: `host-${i}`,
        port: i + 1,
        drift: 1 + (this.random() * 2 - 1) * (options.clockDrift ?? 0),
        clockMs: this.random() * 1e9,
        wallErrorMs: 0,
        membership: null,
        life: 0,
        wakeMs: Infinity,
        pausedUntilMs: 0,
        side: 0,
        sent: 0,
        sentBytes: 0,
      });
    }
  }

  /** How often something rare was seen. */
  sometimes(mark: string): void {
    this.marks.set(mark, (this.marks.get(mark) ?? 0) + 1);
  }

  start(host: Host): void {
    host.life++;
    host.wakeMs = Infinity;
    host.pausedUntilMs = 0;
    host.wallErrorMs = (this.random() * 2 - 1) * this.#clockErrorMs;
    const seeds = this.hosts.slice(0, SEEDS).map(({ port }) => ({ address: "10.0.0.1", port }));
    host.membership = new Membership({
      id: host.name,
      at: { address: "10.0.0.1", port: host.port },
      seeds,
      incarnation: Math.floor(EPOCH_MS + this.nowMs + host.wallErrorMs),
      random: this.random,
      ...(this.#timing === undefined ? {} : { timing: this.#timing }),
    });
    this.#carryOut(host, host.membership.start(this.#clockOf(host)));
  }

  startAll(): void {
    for (const host of this.hosts) this.start(host);
  }

  crash(host: Host): void {
    host.membership = null;
    host.life++;
  }

  /** Says good-bye and is gone a few rounds later. */
  async leave(host: Host): Promise<void> {
    this.#carryOut(host, host.membership!.leave(this.#clockOf(host)));
    this.run(500);
    this.crash(host);
  }

  /** Its process stands still: what is sent to it waits in its socket. */
  pause(host: Host, forMs: number): void {
    host.pausedUntilMs = this.nowMs + forMs;
  }

  /** Hosts of different sides do not reach each other. */
  split(sideOf: (host: Host, index: number) => number): void {
    this.hosts.forEach((host, index) => host.side = sideOf(host, index));
  }

  heal(): void {
    this.split(() => 0);
  }

  run(forMs: number): void {
    const endMs = this.nowMs + forMs;
    for (;;) {
      const next = this.#events.take(endMs);
      if (next === null) break;
      this.nowMs = next.atMs;
      if (next.event.what === "arrives") this.#arrives(next.event);
      else this.#wakes(next.event.host, next.event.life);
    }
    this.nowMs = endMs;
  }

  /** Runs until it holds. @returns how long that took, null where it did not come about */
  runUntil(holds: () => boolean, waitMsMax: number, stepMs = 20): number | null {
    const startMs = this.nowMs;
    while (!holds()) {
      if (this.nowMs - startMs >= waitMsMax) return null;
      this.run(stepMs);
    }
    return this.nowMs - startMs;
  }

  get up(): Host[] {
    return this.hosts.filter(({ membership }) => membership !== null);
  }

  /** What each live host says of one. */
  saidOf(host: Host, by: readonly Host[] = this.up): (MemberState | null)[] {
    return by.filter((each) => each !== host).map(({ membership }) => membership!.stateOf(host.name));
  }

  /** Everybody knows of all that are up that they are alive, and of nobody else. */
  get agreed(): boolean {
    const { up } = this;
    // Asked at each step: the number alone says no nearly every time.
    return up.every(({ membership }) => membership!.live === up.length) &&
      up.every((host) => this.saidOf(host, up).every((said) => said === "alive"));
  }

  #clockOf(host: Host): number {
    return host.clockMs + this.nowMs * host.drift;
  }

  #arrives(event: Event & { what: "arrives" }): void {
    const host = this.hosts[event.to - 1]!;
    if (host.membership === null) return;
    if (host.pausedUntilMs > this.nowMs) {
      this.#events.put(host.pausedUntilMs, event);
      return;
    }
    const message = decode(event.bytes);
    assert(message !== null, "agents understand each other");
    if (message.kind === "nack") this.sometimes("nack");
    const from = { address: "10.0.0.1", port: event.from };
    this.#carryOut(host, host.membership.receive(message, from, this.#clockOf(host)));
  }

  #wakes(host: Host, life: number): void {
    if (host.membership === null || life !== host.life || host.wakeMs > this.nowMs) return;
    if (host.pausedUntilMs > this.nowMs) {
      host.wakeMs = host.pausedUntilMs;
      this.#events.put(host.wakeMs, { what: "wakes", host, life });
      return;
    }
    host.wakeMs = Infinity;
    this.#carryOut(host, host.membership.advance(this.#clockOf(host)));
  }

  #carryOut(host: Host, { sends, changes }: Effects): void {
    for (const { id, state } of changes) {
      this.sometimes(state);
      if (state === "suspect" && host.membership!.table.get(id)?.state === "alive") this.sometimes("held");
      const about = this.hosts[Number(id.slice("host-".length))]!;
      const reachable = about.membership !== null && about.side === host.side &&
        about.pausedUntilMs <= this.nowMs;
      if (state === "dead" && reachable) this.falseDeaths++;
    }
    this.membersMax = Math.max(this.membersMax, host.membership!.table.size);
    for (const { to, message } of sends) {
      const bytes = encode(message);
      assert(bytes.length <= PAYLOAD_BYTES_MAX, "a datagram has its bound");
      if (message.kind === "ask") this.sometimes("ask");
      this.bytesMax = Math.max(this.bytesMax, bytes.length);
      host.sent++;
      host.sentBytes += bytes.length;
      this.#transmit(bytes, host, to.port);
    }
    // A little late: rounding could otherwise wake it before its time, for ever.
    const nextMs = Math.max(this.nowMs, (host.membership!.nextMs() - host.clockMs) / host.drift) + 0.01;
    if (nextMs >= host.wakeMs || nextMs === Infinity) return;
    host.wakeMs = nextMs;
    this.#events.put(nextMs, { what: "wakes", host, life: host.life });
  }

  #transmit(bytes: Buffer, from: Host, to: number): void {
    const { loss, duplication, delayMs, jitterMs } = this.network;
    if (this.hosts[to - 1]!.side !== from.side) return;
    const copies = this.random() < duplication ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.random() < loss) continue;
      const atMs = this.nowMs + delayMs + this.random() * jitterMs;
      this.#events.put(atMs, { what: "arrives", bytes, from: from.port, to });
    }
  }
}

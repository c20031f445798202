/**
 * Listens to the membership agent of this host (control/contract/membership.ts) and says which hosts are dead. The edge
 * does well without it: when the agent is away for longer than a restart takes, or says nothing, no host is dead, and the
 * edge goes by rows and by what it sees itself. Connections are tried again with a wait that doubles and is half drawn.
 */
import { connect, type Socket } from "node:net";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import {
  MemberLine,
  MEMBERS_LINE_BYTES_MAX,
  MEMBERS_MAX,
  MEMBERS_SILENCE_MS_MAX,
  MembersLine,
  type MemberState,
} from "../../control/contract/membership.ts";
import { loopClock } from "../runtime/loop-clock.ts";
import { deadHosts } from "./dead-hosts.ts";
import { registerMembership } from "./membership-metrics.ts";

export const MEMBERSHIP_RETRY_MS_MIN = 100;
export const MEMBERSHIP_RETRY_MS_MAX = 5_000;
/** What was known stays for this long after the connection is lost: an agent that restarts is back sooner. */
export const MEMBERSHIP_AWAY_MS_MAX = 3_000;

export interface MembershipClientOptions {
  readonly socket: string;
  readonly ownHostId: string | null;
  readonly onDead: (hosts: ReadonlySet<string>) => void;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  readonly awayMsMax?: number;
  readonly silenceMsMax?: number;
}

export class MembershipClient {
  /** Lines that were none of the contract, or too long. */
  linesRefused = 0;
  connections = 0;
  /** More than half of the fleet is said to be dead, so nobody is taken for it. */
  distrusted = false;
  dead: ReadonlySet<string> = new Set();
  readonly #options: MembershipClientOptions;
  readonly #members = new Map<string, MemberState>();
  #socket: Socket | null = null;
  #told = false;
  #text = "";
  #failures = 0;
  #stopped = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #awayTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: MembershipClientOptions) {
    this.#options = options;
  }

  /** An agent has said who there is. */
  get connected(): boolean {
    return this.#told;
  }
  get members(): number {
    return this.#members.size;
  }

  register(registry: Registry): void {
    registerMembership(registry, this);
  }

  start(): void {
    const socket = connect({ path: this.#options.socket });
    this.#socket = socket;
    this.#text = "";
    socket.setEncoding("utf8");
    socket.on("connect", () => {
      this.connections++;
      this.#heard();
    });
    socket.on("data", (text: string) => this.#read(text));
    socket.on("error", () => {});
    socket.on("close", () => this.#lost(socket));
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of [this.#retryTimer, this.#awayTimer, this.#silenceTimer]) clearTimeout(timer);
    this.#socket?.destroy();
  }

  #heard(): void {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(
      () => this.#socket?.destroy(),
      this.#options.silenceMsMax ?? MEMBERS_SILENCE_MS_MAX,
    );
  }

  #read(text: string): void {
    if (this.#stopped) return;
    this.#heard();
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop()!;
    for (const line of lines) this.#take(line);
    if (this.#text.length > MEMBERS_LINE_BYTES_MAX) {
      this.linesRefused++;
      this.#socket?.destroy();
    }
    if (lines.length > 0 && this.#told) this.#decide();
  }

  #take(line: string): void {
    const value = parsed(line);
    const all = MembersLine.safeParse(value);
    if (all.success) {
      this.#told = true;
      this.#failures = 0;
      clearTimeout(this.#awayTimer);
      this.#awayTimer = undefined;
      this.#members.clear();
      for (const { host_id, state } of all.data.members) this.#members.set(host_id, state);
      return;
    }
    const one = MemberLine.safeParse(value);
    if (one.success && this.#told) {
      const { host_id, state } = one.data;
      if (this.#members.has(host_id) || this.#members.size <= MEMBERS_MAX) this.#members.set(host_id, state);
    } else this.linesRefused++;
  }

  #decide(): void {
    const { hosts, distrusted } = deadHosts(this.#members, this.dead, this.#options.ownHostId);
    this.distrusted = distrusted;
    if (hosts.size === this.dead.size && [...hosts].every((host) => this.dead.has(host))) return;
    this.dead = hosts;
    this.#options.log.warn({ dead: [...hosts] }, "other hosts are dead than before");
    // Requests that wait are woken by this.
    loopClock.tick();
    this.#options.onDead(hosts);
  }

  #lost(socket: Socket): void {
    if (this.#stopped || socket !== this.#socket) return;
    this.#socket = null;
    this.#told = false;
    clearTimeout(this.#silenceTimer);
    this.#awayTimer ??= setTimeout(() => {
      this.#members.clear();
      this.#decide();
    }, this.#options.awayMsMax ?? MEMBERSHIP_AWAY_MS_MAX);
    this.#retryTimer = setTimeout(() => this.start(), retryMs(++this.#failures, this.#options.random()));
  }
}

/** @param failures in a row, 1 or more */
function retryMs(failures: number, random: number): number {
  const whole = Math.min(MEMBERSHIP_RETRY_MS_MAX, MEMBERSHIP_RETRY_MS_MIN * 2 ** Math.min(failures - 1, 16));
  return whole / 2 + random * whole / 2;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/**
 * `Membership` with a socket and a clock: one UDP socket, one timer. What cannot be opened or read is counted and
 * forgotten; what cannot be sent is lost, as the network may lose it, and the machine knows how to live with that.
 */
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { GodwitError, messageOf } from "../contract/errors.ts";
import type { MemberLine } from "../contract/membership.ts";
import { canonicalAddress } from "./address.ts";
import type { Address } from "./member.ts";
import { Membership, type MembershipOptions } from "./membership.ts";
import { DATAGRAM_BYTES_MAX, decode, encode } from "./message.ts";
import type { Seal } from "./seal.ts";

/** Good-byes are sent for this long. */
export const LEAVE_MS = 500;

export interface AgentOptions extends Pick<MembershipOptions, "id" | "seeds" | "timing" | "random"> {
  readonly listen: Address;
  /** @default listen */
  readonly advertise?: Address;
  readonly seal: Seal;
  /** Since 1970. */
  readonly wallMs: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly onChange: (change: MemberLine) => void;
  readonly onTrouble: (message: string, error: unknown) => void;
}

export class Agent {
  readonly counts = {
    received: 0,
    receivedBytes: 0,
    sentBytes: 0,
    /** Larger than any of ours. */
    oversize: 0,
    /** No key of ours has signed it, or not this. */
    unauthenticated: 0,
    /** Signed, and yet no message: another version speaks. */
    malformed: 0,
    sendFailures: 0,
  };
  readonly #options: AgentOptions;
  #socket: Socket | null = null;
  #membership: Membership | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueMs = Infinity;
  #port = 0;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  get membership(): Membership {
    return this.#membership!;
  }
  /** As bound. */
  get port(): number {
    return this.#port;
  }

  /** @throws GodwitError `membership.cannot_listen` */
  async start(): Promise<void> {
    const { listen, id, seeds, random, timing, wallMs, nowMs } = this.#options;
    const socket = createSocket({ type: isIPv6(listen.address) ? "udp6" : "udp4" });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", (error) => reject(cannotListen(listen, error)));
      socket.bind(listen.port, listen.address, resolve);
    });
    socket.removeAllListeners("error");
    socket.on("error", (error) => this.#options.onTrouble("the UDP socket failed", error));
    this.#socket = socket;
    this.#port = socket.address().port;
    const { address, port } = this.#options.advertise ?? { ...listen, port: this.#port };
    this.#membership = new Membership({
      id,
      seeds: seeds.map((seed) => ({ ...seed, address: canonicalAddress(seed.address) ?? seed.address })),
      random,
      ...(timing === undefined ? {} : { timing }),
      at: { address: canonicalAddress(address)!, port },
      incarnation: wallMs(),
    });
    socket.on("message", (bytes, from) => this.#receive(bytes, from));
    this.#carryOut(this.#membership.start(nowMs()));
  }

  /** All that are known, the own host first. */
  lines(): MemberLine[] {
    const { nowMs, wallMs } = this.#options;
    const { id, incarnation, table } = this.membership;
    const sinceStartMs = wallMs() - nowMs();
    const own = { host_id: id, state: this.membership.stateOf(id)!, incarnation, at_ms: wallMs() };
    return [
      own,
      ...Array.from(table.all(), (member): MemberLine => ({
        host_id: member.id,
        state: member.told!,
        incarnation: member.incarnation,
        at_ms: Math.floor(member.toldAtMs + sinceStartMs),
      })),
    ];
  }

  /** Tells the others that this host leaves, unless it is to look like a crash. */
  async stop(leaves = true): Promise<void> {
    if (this.#socket === null) return;
    if (leaves) {
      this.#carryOut(this.membership.leave(this.#options.nowMs()));
      await new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
    }
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }

  #receive(bytes: Buffer, from: { address: string; port: number }): void {
    if (this.#socket === null) return;
    const { counts } = this;
    counts.received++;
    counts.receivedBytes += bytes.length;
    if (bytes.length > DATAGRAM_BYTES_MAX) {
      counts.oversize++;
      return;
    }
    const payload = this.#options.seal.open(bytes);
    if (payload === null) {
      counts.unauthenticated++;
      return;
    }
    const message = decode(payload);
    const address = canonicalAddress(from.address);
    if (message === null || address === null) {
      counts.malformed++;
      return;
    }
    this.#carryOut(this.membership.receive(message, { address, port: from.port }, this.#options.nowMs()));
  }

  #carryOut({ sends, changes }: ReturnType<Membership["advance"]>): void {
    for (const { to, message } of sends) this.#send(to, this.#options.seal.close(encode(message)));
    for (const { id, state, incarnation } of changes) {
      this.#options.onChange({ host_id: id, state, incarnation, at_ms: this.#options.wallMs() });
    }
    this.#schedule();
  }

  #send(to: Address, bytes: Buffer): void {
    this.counts.sentBytes += bytes.length;
    try {
      this.#socket?.send(bytes, to.port, to.address, (error) => {
        if (error !== null && error !== undefined) this.counts.sendFailures++;
      });
    } catch {
      // No route, no such name, a full buffer: lost.
      this.counts.sendFailures++;
    }
  }

  #schedule(): void {
    const dueMs = this.membership.nextMs();
    if (dueMs === this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    if (dueMs === Infinity || this.#socket === null) return;
    this.#timer = setTimeout(() => {
      this.#dueMs = Infinity;
      this.#carryOut(this.membership.advance(this.#options.nowMs()));
    }, Math.max(0, dueMs - this.#options.nowMs()));
  }
}

function cannotListen({ address, port }: Address, cause: unknown): GodwitError {
  return new GodwitError(
    "membership.cannot_listen",
    `Cannot listen on UDP ${address} port ${port}: ${messageOf(cause)}`,
    {
      fault: "us",
      hint: "Check `listen` in the configuration, and that no other agent runs.",
      cause,
    },
  );
}

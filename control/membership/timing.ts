/**
 * How long everything takes. A host that stops answering is probed by somebody within about two probe intervals, found
 * silent after `probeMs`, and suspected until the suspicion runs out: with the values here about 1.2 s in a fleet of five
 * and 2 s in one of three hundred. What a probe may take is longer than the interval between two, so that a round trip
 * over half the earth is not a failure.
 */
export interface Timing {
  /** Between two probes by one host. */
  readonly probeIntervalMs: number;
  /** Without an answer for this long, others are asked to try. */
  readonly directMs: number;
  /** Without any answer for this long the host is suspected. */
  readonly probeMs: number;
  /** How many others are asked. */
  readonly relays: number;
  /** Between two rounds of gossip while there is something to tell; and how many get it. */
  readonly gossipIntervalMs: number;
  readonly gossipFanout: number;
  /** A piece of news is sent on this many times log10 of the fleet's size. */
  readonly retransmitFactor: number;
  /** The shortest suspicion in a fleet of up to ten; it grows with log10 of the size. */
  readonly suspicionMs: number;
  /** A suspicion that nobody else shares lasts this many times longer. */
  readonly suspicionFactor: number;
  /** Others who must share it to make it short. */
  readonly confirmations: number;
  /** Between two comparisons with another host. */
  readonly syncIntervalMs: number;
  /** Between two looks at whether a seed is no member. */
  readonly seedIntervalMs: number;
  /** Without any other member: the first and the longest wait between two tries of the seeds. */
  readonly joinMs: number;
  readonly joinMsMax: number;
  /** Between two looks at whether one of the dead is back. */
  readonly reconnectIntervalMs: number;
  /** The dead, and those who left, are remembered for this long, so that old gossip does not revive them. */
  readonly forgetMs: number;
}

export const TIMING: Timing = {
  probeIntervalMs: 250,
  directMs: 200,
  probeMs: 500,
  relays: 3,
  gossipIntervalMs: 100,
  gossipFanout: 3,
  retransmitFactor: 4,
  suspicionMs: 400,
  suspicionFactor: 2.5,
  confirmations: 2,
  syncIntervalMs: 10_000,
  seedIntervalMs: 30_000,
  joinMs: 500,
  joinMsMax: 10_000,
  reconnectIntervalMs: 2_000,
  forgetMs: 24 * 3_600_000,
};

/** Probes, and pings for others, that one host has under way. */
export const PROBES_MAX = 64;
export const RELAYS_MAX = 256;
/** Whole states that a host sends in a second, whoever asks: each is many datagrams. */
export const STATES_PER_S_MAX = 16;
/** Another address of a live member is believed this often. */
export const ADDRESS_INTERVAL_MS = 5_000;
/** A timer that comes this late says that this process stood still, and not the others. */
export const STALL_MS = 200;

/** @param live members that are alive or suspect, the own one included */
export function retransmits(timing: Timing, live: number): number {
  return Math.ceil(timing.retransmitFactor * Math.max(1, Math.log10(live + 1)));
}

/**
 * Lifeguard's rule (Dadgar, Phillips, Currey 2018, section IV-B): it begins long and shortens with each other member that
 * says the same by itself, so that one host that hears badly does not bring down those it cannot hear.
 */
export function suspicionMs(timing: Timing, live: number, confirmations: number): number {
  const shortest = timing.suspicionMs * Math.max(1, Math.log10(live + 1));
  // With nobody else to ask there is nothing to wait for.
  const wanted = Math.min(timing.confirmations, live - 2);
  if (wanted <= 0) return shortest;
  const longest = shortest * timing.suspicionFactor;
  const share = Math.log(confirmations + 1) / Math.log(wanted + 1);
  return Math.max(shortest, longest - (longest - shortest) * share);
}

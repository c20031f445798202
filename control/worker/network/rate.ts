/**
 * How fast a machine's link may be, each way, and how that is said to the kernel. What goes to the machine waits in a token
 * bucket (tc-tbf(8)), so that TCP finds its speed without losing packets. What comes from it is not ours to queue: what is
 * above the rate is dropped by the table's first rule for links (ruleset.ts), before it costs the host more than that.
 * Rejected: policing in tc's ingress, for which many kernels lack the action; an ifb each, a second device a machine.
 */
import type { WorkerConfig } from "../../contract/process-config.ts";

/** 1 Gbit/s, as `network.machine_bytes_per_s` documents. */
const BYTES_PER_S = 125_000_000;
/** Two of the largest packets that a host's own segments make. */
const BURST_BYTES_MIN = 2 * 65_536;
/** What may go to a machine at once after a rest, in milliseconds of the rate. */
const BURST_MS = 10;
/** A packet that would wait longer is dropped. */
export const QUEUE_MS_MAX = 50;

export function machineBytesPerS(config: Pick<WorkerConfig, "network">): number {
  return config.network.machine_bytes_per_s ?? BYTES_PER_S;
}

/** What may go to a machine at once. */
export function burstToMachine(bytesPerS: number): number {
  return Math.max(BURST_BYTES_MIN, Math.ceil(bytesPerS * BURST_MS / 1_000));
}

/** What may come from a machine at once: nftables adds a second of the rate to the burst that it is told. */
export function burstFromMachine(bytesPerS: number): number {
  return bytesPerS + BURST_BYTES_MIN;
}

/** A line of tc's batch; may be repeated, and the link takes it along when it goes. */
export function shapeLink(name: string, bytesPerS: number): string {
  const burst = burstToMachine(bytesPerS);
  return `qdisc replace dev ${name} root tbf rate ${bytesPerS}bps burst ${burst}b latency ${QUEUE_MS_MAX}ms`;
}

/** Matches what a link sends above its rate. Elements come by themselves, and go a while after their links. */
export function tooFast(bytesPerS: number): string {
  const limit = `limit rate over ${bytesPerS} bytes/second burst ${BURST_BYTES_MIN} bytes`;
  return `add @sending { iifname ${limit} }`;
}

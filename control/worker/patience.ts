/**
 * How long a guest that has not spoken is waited for. A hung boot and a slow host look alike from outside by the clock;
 * they differ in what the VMM has computed meanwhile, or wanted to. So an emulated guest gets its time on the clock, and on
 * a busy host as much longer as it takes to have had its share of a processor, up to a last bound. One that wants no
 * processor waits for something that does not come.
 */
import type { VmmProbe } from "./vmm/driver.ts";

export interface Patience {
  /** Waited for in any case; idle for as long, it is not waited for any longer. */
  readonly waitMs: number;
  /** After that, while the VMM has used less processor time than this. */
  readonly cpuMs: number;
  readonly waitMsMax: number;
}

/** Of the VMM since its start. */
export interface Effort {
  readonly cpuMs: number;
  /** What its busiest thread ran and waited to run; null where the kernel does not tell. */
  readonly wantedMs: number | null;
}

/** Until the guest's first word. A boot under TCG takes about 5 s of a processor, one that hangs takes all it can get. */
export const HELLO_PATIENCE: Readonly<Record<VmmProbe["acceleration"], Patience>> = {
  tcg: { waitMs: 25_000, cpuMs: 15_000, waitMsMax: 120_000 },
  kvm: { waitMs: 8_000, cpuMs: 0, waitMsMax: 8_000 },
  none: { waitMs: 15_000, cpuMs: 0, waitMsMax: 15_000 },
};

/** Until the first word of a guest that was resumed, which has nothing to boot: an edge may hold requests meanwhile. */
export const RESUMED_PATIENCE: Readonly<Record<VmmProbe["acceleration"], Patience>> = {
  tcg: { waitMs: 15_000, cpuMs: 8_000, waitMsMax: 60_000 },
  kvm: { waitMs: 5_000, cpuMs: 0, waitMsMax: 5_000 },
  none: { waitMs: 15_000, cpuMs: 0, waitMsMax: 15_000 },
};

export function isPatient(patience: Patience, waitedMs: number, { cpuMs, wantedMs }: Effort): boolean {
  if (waitedMs < patience.waitMs) return true;
  const idleMs = wantedMs === null ? 0 : waitedMs - wantedMs;
  return waitedMs < patience.waitMsMax && cpuMs < patience.cpuMs && idleMs < patience.waitMs;
}

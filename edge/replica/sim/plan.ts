/**
 * What a seed's world looks like and what goes wrong in it. Each kind of fault is on in some worlds and off in others: a
 * world with all of them never stays up long enough to get anywhere else.
 */
import type { Chance } from "./chance.ts";

export const FAULT_KINDS = [
  "network",
  "kill connections",
  "stall",
  "away",
  "fail over",
  "empty",
  "trim",
  "delete a stream",
  "crash at awaits",
  "crash within writes",
  "crash",
  "cut power",
  "stop",
  "disk full",
  "publisher crash",
  "new epoch",
  "poison",
  "damage the head",
] as const;
/** Only where the replica can heal them (`features.ts`). */
export const HEALED_FAULT_KINDS = [
  "clock behind",
  "damage a row",
  "disk failures",
  "disk locked",
  "forged signature",
  "restore",
  "snapshot failures",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number] | (typeof HEALED_FAULT_KINDS)[number];

export interface Plan {
  /** Codes; the api and one worker or several in each. */
  readonly regions: readonly string[];
  readonly workers: readonly { readonly host: string; readonly region: string }[];
  /** The regions that each edge follows; empty: all. */
  readonly edges: readonly (readonly string[])[];
  readonly streamEntriesMax: number;
  readonly changeMs: number;
  readonly faultMs: number;
  readonly isSigned: boolean;
  readonly faults: ReadonlySet<FaultKind>;
}

const REGIONS = ["ams", "fra", "syd"] as const;
const FAULT_SHARE = 0.4;

export function drawPlan(chance: Chance): Plan {
  const regions = REGIONS.slice(0, chance.between(1, REGIONS.length));
  const workers = Array.from({ length: chance.between(regions.length, 4) }, (_, i) => ({
    host: `host-${i + 1}`,
    region: regions[i % regions.length]!,
  }));
  const edges = Array.from(
    { length: chance.between(1, 3) },
    (_, i) => i === 0 || chance.happens(0.6) ? [] : [chance.pick(regions)],
  );
  const kinds: readonly FaultKind[] = [...FAULT_KINDS, ...HEALED_FAULT_KINDS];
  return {
    ...{ regions, workers, edges },
    streamEntriesMax: chance.between(60, 400),
    changeMs: chance.pick([50, 150, 500]),
    faultMs: chance.pick([200, 700, 2_000]),
    isSigned: chance.happens(0.5),
    faults: new Set(kinds.filter(() => chance.happens(FAULT_SHARE))),
  };
}

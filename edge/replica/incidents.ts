/** What went wrong with a replica: found by itself, kept for people, healed or not yet. */
import type { TableDifference } from "./compare-digest.ts";

export const INCIDENTS_KEPT_MAX = 100;
export const DIFFERENCES_SHOWN_MAX = 50;

export type IncidentKind =
  /** The stream no longer reaches back to our position. */
  | "gap"
  /** Rows are not what their owner says. */
  | "digest"
  /** Rows are not what their checksums and sums say. */
  | "scrub"
  /** SQLite cannot read the file. */
  | "corrupt"
  /** Another version of Godwit made the file. */
  | "schema";

export interface Incident {
  readonly at_ms: number;
  readonly kind: IncidentKind;
  /** In words. */
  readonly detail: string;
  readonly stream?: string;
  /** An entry's id. */
  readonly position?: string;
  /** Bounded. */
  readonly differences?: readonly TableDifference[];
  /** When a generation without it took over. */
  healed_ms: number | null;
}

/** How another generation came to be. */
export interface BootstrapReport {
  readonly why: string;
  readonly started_ms: number;
  readonly took_ms: number;
  /** `streams`, or who served the snapshot. */
  readonly from: string;
  readonly rows: number;
  /** Rows that are not as they were in the generation before; this many, and the first of them. */
  readonly differed: number;
  readonly differences: readonly RowDifference[];
  /** Rows of owners that said nothing meanwhile, taken from the generation before. */
  readonly carried: number;
  /** Earlier versions of rows, from the history of the generation before. */
  readonly past_carried: number;
}

export interface RowDifference {
  readonly table: string;
  readonly key: string;
  /** `EPOCH.SEQ`, `damaged`, or null where there is none. */
  readonly before: string | null;
  readonly after: string | null;
}

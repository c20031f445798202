/** Why an edge would answer a request as it would: what `/explain` of its admin listener says and `godwit route explain` shows. */
import { z } from "zod";
import { RegionCode } from "./names.ts";
import { TABLE_NAMES } from "./rows.ts";

/** What a machine is to the request. `picked` and `candidate` could get it; all others say why not. */
export const MachineVerdict = z.enum([
  "picked",
  "candidate",
  "above_soft_limit",
  "at_hard_limit",
  "ejected",
  "warming",
  "farther",
  "not_wanted",
  "unhealthy",
  "cordoned",
  "leaving",
  "starting",
  "startable",
  "not_started",
  "other_port",
]);
export type MachineVerdict = z.infer<typeof MachineVerdict>;

export const Explanation = z.object({
  schema: z.literal(1),
  url: z.string(),
  edge: z.object({ id: z.string(), region: RegionCode }),
  /** Whose view this is: the edge's region, or the one that was asked for. */
  region: RegionCode,
  stages: z.array(z.object({
    stage: z.enum(["accept", "find", "admit", "pick", "hold", "send"]),
    decision: z.enum(["passed", "refused", "waits", "starts", "sent"]),
    text: z.string(),
  })),
  /** What the client would be told where no machine would be. */
  refusal: z.object({ status: z.number(), code: z.string(), message: z.string(), hint: z.string() })
    .nullable(),
  machines: z.array(z.object({
    id: z.string(),
    host_id: z.string(),
    region: z.string(),
    state: z.string(),
    address: z.string().nullable(),
    verdict: MachineVerdict,
    text: z.string(),
    in_flight: z.number().nullable(),
    soft_limit: z.number().nullable(),
    hard_limit: z.number().nullable(),
    /** Measured from the edge; null where it has not been measured or is the edge's own region. */
    distance_ms: z.number().nullable(),
  })),
  /** The state that this was decided from. Owner and version are null where rows come from a file or are given. */
  rows: z.array(z.object({
    table: z.enum(TABLE_NAMES),
    key: z.string(),
    owner: z.string().nullable(),
    version: z.object({ epoch: z.number(), seq: z.number() }).nullable(),
    published_ms: z.number().nullable(),
  })),
  /** Where a time in the past was asked for: all above is then decided from the rows of that time. */
  past: z.object({
    at_ms: z.number(),
    /** When the oldest change was taken that the edge's replica remembers; null: it keeps no history. */
    reaches_to_ms: z.number().nullable(),
    /** What is not known of that time, a sentence each. */
    unknown: z.array(z.string()),
    rows: z.array(z.object({
      table: z.enum(TABLE_NAMES),
      key: z.string(),
      /** `unknown`: it has changed since, and its earlier version is not remembered. */
      state: z.enum(["live", "deleted", "unknown"]),
      version: z.object({ epoch: z.number(), seq: z.number() }).nullable(),
      /** When the edge's replica took it; where it has not changed since, when it was published. */
      applied_ms: z.number().nullable(),
      row: z.unknown(),
    })),
  }).optional(),
});
export type Explanation = z.infer<typeof Explanation>;

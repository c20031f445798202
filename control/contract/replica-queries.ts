/** A replica's queries and subscriptions (edge/query/README.md): HTTP/1.1 on a unix socket or loopback, answers in lines of JSON. */
import { z } from "zod";
import { WireError } from "./errors.ts";

const PARAMETERS_MAX = 100;
const KEY_COLUMNS_MAX = 16;
const CURSOR_LENGTH_MAX = 64;

const Params = z.array(
  z.union([z.string(), z.number(), z.boolean().transform(Number), z.null()]),
).max(PARAMETERS_MAX).default([]);

/** `POST /query`. */
export const Query = z.strictObject({ sql: z.string().min(1), params: Params });
export type Query = z.input<typeof Query>;

/** `POST /subscribe`. */
export const Subscribe = z.strictObject({
  sql: z.string().min(1),
  params: Params,
  /** Columns that tell rows apart. */
  key: z.array(z.string()).min(1).max(KEY_COLUMNS_MAX).nullable().default(null),
  /** The last cursor that the client has seen; without it, a snapshot comes first. */
  from: z.string().max(CURSOR_LENGTH_MAX).optional(),
});
export type Subscribe = z.input<typeof Subscribe>;

const Values = z.array(z.unknown());

/** A line of the answer: columns, rows, the end. */
export const QueryLine = z.union([
  z.object({ columns: z.array(z.string()) }),
  z.object({ row: Values }),
  z.object({ end: z.object({ rows: z.number(), ms: z.number() }) }),
  z.object({ error: WireError }),
]);
export type QueryLine = z.infer<typeof QueryLine>;

/** A line of a subscription: columns, rows and a snapshot's end, then changes and heartbeats; an error is the last one. */
export const SubscriptionLine = z.union([
  z.object({
    columns: z.array(z.string()),
    /** Those that tell rows apart; none: all of them. */
    key: z.array(z.string()),
    resumed: z.boolean(),
    cursor: z.string().optional(),
  }),
  z.object({ row: z.object({ id: z.number(), values: Values }) }),
  z.object({ snapshot: z.object({ rows: z.number(), cursor: z.string() }) }),
  z.object({
    change: z.object({
      kind: z.enum(["insert", "update", "delete"]),
      id: z.number(),
      /** Of a deleted row: the last ones. */
      values: Values,
      cursor: z.string(),
    }),
  }),
  z.object({ heartbeat: z.object({ cursor: z.string(), at_ms: z.number() }) }),
  z.object({ error: WireError }),
]);
export type SubscriptionLine = z.infer<typeof SubscriptionLine>;

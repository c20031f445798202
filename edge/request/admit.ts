/**
 * admit: may this request go further? The parser has refused what is malformed or too large already; here stand the
 * policies of the edge and, later, of each service (https redirect, rates, tokens).
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import { BODY_TOO_LARGE } from "../relay/refusal.ts";
import type { Exchange } from "./exchange.ts";

export function admit(edge: Edge, exchange: Exchange): Refusal | null {
  if (exchange.head.contentLength > edge.limits.bodyBytesMax) return BODY_TOO_LARGE;
  return null;
}

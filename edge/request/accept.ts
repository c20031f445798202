/** accept: who asks, and under which id. Everything later, the log included, leans on these. */
import type { Edge } from "../edge.ts";
import type { Exchange } from "./exchange.ts";

export function accept(edge: Edge, exchange: Exchange): void {
  exchange.limits = edge.limits;
  exchange.id = edge.requestIds.next(edge.wallMs());
  if (edge.tracing !== null && !exchange.client.listener.admin) exchange.trace = edge.tracing.begin(exchange);
}

/** tally: one log line and one count for each request, refusals and lost clients included. */
import type { Edge } from "../edge.ts";
import { accessLine } from "./access-log.ts";
import type { Exchange } from "./exchange.ts";

export function tally(edge: Edge, exchange: Exchange): void {
  if (exchange.client.listener.admin) return;
  const endedMs = edge.nowMs();
  edge.metrics.observe(exchange, (endedMs - exchange.startedMs) / 1_000);
  if (edge.accessLog.enabled) edge.accessLog.add(accessLine(exchange, endedMs, edge.wallMs()));
}

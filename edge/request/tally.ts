/** tally: one log line and one count for each request, refusals and lost clients included. */
import type { Edge } from "../edge.ts";
import type { Exchange } from "./exchange.ts";

export function tally(edge: Edge, exchange: Exchange): void {
  if (exchange.client.listener.admin) return;
  const endedMs = edge.nowMs();
  exchange.trace?.finished(exchange, endedMs);
  edge.metrics.observe(exchange, (endedMs - exchange.startedMs) / 1_000);
  if (!edge.accessLog.enabled) return;
  const place = edge.accessLog.place();
  if (place === null) return;
  edge.accessLines.write(place, exchange, endedMs, edge.wallMs());
  edge.accessLog.added();
}

/** find: host name → app, the listener's port → service. */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { Exchange } from "./exchange.ts";
import { NO_MACHINE, UNKNOWN_HOST } from "./refusals.ts";
import { Wish } from "./wish.ts";

export function find(edge: Edge, exchange: Exchange): Refusal | null {
  const app = edge.routes.find(exchange.head.host);
  if (app === null) return UNKNOWN_HOST;
  exchange.app = app;
  const service = app.services.get(exchange.client.listener.servicePort);
  if (service === undefined) return NO_MACHINE;
  exchange.service = service;
  const { steering } = exchange.head;
  if (steering !== null) exchange.wish = new Wish(steering);
  return null;
}

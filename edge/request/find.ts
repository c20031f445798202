/** find: host name → app, the listener's port → service. */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { Exchange } from "./exchange.ts";
import { MISDIRECTED, NO_HTTP_HANDLER, NO_MACHINE, UNKNOWN_HOST } from "./refusals.ts";
import { Wish } from "./wish.ts";

export function find(edge: Edge, exchange: Exchange): Refusal | null {
  const { serverName } = exchange.client;
  if (serverName !== null && misdirected(edge, serverName, exchange.head.host)) return MISDIRECTED;
  const app = edge.routes.find(exchange.head.host);
  if (app === null) return UNKNOWN_HOST;
  exchange.app = app;
  const service = app.services.get(exchange.client.listener.servicePort);
  if (service === undefined) return NO_MACHINE;
  exchange.service = service;
  // Its machines may speak anything: what an HTTP client says is no word of theirs.
  if (service.policy?.tunnel === true && exchange.client.protocol !== "tcp") return NO_HTTP_HANDLER;
  const { steering } = exchange.head;
  if (steering !== null) exchange.wish = new Wish(steering);
  return null;
}

/**
 * RFC 9110 section 7.4: whoever was shown a certificate for one name and then asks for another must be able to trust that
 * the answer is the other's. Browsers use a connection for several names of one certificate, so a name that a certificate
 * of ours covers is served; one that none covers is not, because nobody proved it to be here. With the default
 * certificate nothing was proved to begin with.
 */
function misdirected(edge: Edge, serverName: string, host: string): boolean {
  const { certificates } = edge.tls;
  return host !== serverName && certificates.covers(serverName) && !certificates.covers(host);
}

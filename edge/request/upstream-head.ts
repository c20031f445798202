/** The request as the machine gets it: what the client sent, and who asked through which door (reference, section 1.6). */
import type { Edge } from "../edge.ts";
import { decimal } from "../relay/request-head.ts";
import type { Exchange } from "./exchange.ts";

export function upstreamHead(edge: Edge, exchange: Exchange): string {
  const { head, client } = exchange;
  const port = client.listener.servicePort;
  const forwardedFor = head.forwardedFor === null
    ? client.address
    : `${head.forwardedFor}, ${client.address}`;
  // The reference lets clients choose X-Forwarded-Port, and nothing else of these.
  const claimed = decimal(head.forwardedPort ?? "");
  const forwardedPort = claimed > 0 && claimed < 65_536 ? claimed : port;
  const upgrade = head.upgrade === null ? "" : `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`;
  return `${head.method} ${head.target} HTTP/1.1\r\n${head.fields}${upgrade}` +
    `Fly-Client-IP: ${client.address}\r\nFly-Forwarded-Port: ${port}\r\nFly-Region: ${edge.region}\r\n` +
    `Fly-Request-Id: ${exchange.id}\r\nX-Forwarded-For: ${forwardedFor}\r\nX-Forwarded-Proto: http\r\n` +
    `X-Forwarded-Port: ${forwardedPort}\r\nX-Forwarded-Ssl: off\r\nVia: 1.1 ${edge.serverName}\r\n\r\n`;
}

/** Lines that every response gets. */
export function responseFields(edge: Edge, exchange: Exchange, hasDate: boolean): string {
  const date = hasDate ? "" : `Date: ${edge.httpDate()}\r\n`;
  return `${date}Server: ${edge.serverName}\r\nVia: 1.1 ${edge.serverName}\r\nFly-Request-Id: ${exchange.id}\r\n`;
}

/** The request as the machine gets it: what the client sent, and who asked through which door (reference, section 1.6). */
import { isIP } from "node:net";
import type { Edge } from "../edge.ts";
import type { Downstream } from "../relay/downstream.ts";
import { writeProxyHeader } from "../relay/proxy-protocol.ts";
import { decimal } from "../relay/request-head.ts";
import type { Exchange } from "./exchange.ts";
import { toPeer } from "./to-peer.ts";

export function upstreamHead(edge: Edge, exchange: Exchange): string {
  const { head, client } = exchange;
  const announced = exchange.dedicated ? proxyHeader(exchange) : "";
  if (client.protocol === "tcp") return announced;
  const upgrade = head.upgrade === null ? "" : `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`;
  if (exchange.peer !== null) {
    return `${head.method} ${head.target} HTTP/1.1\r\n${head.fields}${upgrade}${exchange.peer.fields}\r\n`;
  }
  const forwarded = head.forwardedFor === null && head.forwardedPort === null
    ? client.forwardedFields ||= forwardedFields(edge, client, null, null)
    : forwardedFields(edge, client, head.forwardedFor, head.forwardedPort);
  const missed = exchange.wish?.missedBy(exchange.backend!) ?? null;
  const unavailable = missed === null ? "" : `Fly-Preferred-Instance-Unavailable: ${missed}\r\n`;
  const replay = exchange.replay === null ? "" : exchange.replay.fields;
  const own = `${replay}${unavailable}Fly-Request-Id: ${exchange.id}\r\n${forwarded}`;
  return `${announced}${head.method} ${head.target} HTTP/1.1\r\n${
    exchange.trace?.fields ?? head.fields
  }${upgrade}${exchange.backend!.viaPeer && !exchange.dedicated ? toPeer(edge, exchange, own) : own}`;
}

/** What a machine that asks for it learns of the connection's ends before all else. */
function proxyHeader({ client, service }: Exchange): string {
  const version = service!.policy?.proxyOut ?? null;
  if (version === null) return "";
  const { address, servicePort } = client.listener;
  const bound = address !== undefined && isIP(address) === isIP(client.address);
  const destination = bound ? address : isIP(client.address) === 6 ? "::" : "0.0.0.0";
  const source = { address: client.address, port: client.port ?? 0 };
  return writeProxyHeader(version, source, { address: destination, port: servicePort });
}

/** Alike for all requests of a connection that claim nothing themselves; with the empty line that ends the head. */
function forwardedFields(
  edge: Edge,
  client: Downstream,
  claimedFor: string | null,
  claimedPort: string | null,
): string {
  const { address } = client;
  const port = client.listener.servicePort;
  // The reference lets clients choose X-Forwarded-Port, and nothing else of these.
  const claimed = decimal(claimedPort ?? "");
  const forwardedPort = claimed > 0 && claimed < 65_536 ? claimed : port;
  const forwardedFor = claimedFor === null ? address : `${claimedFor}, ${address}`;
  const { tls } = client.listener;
  return `Fly-Client-IP: ${address}\r\nFly-Forwarded-Port: ${port}\r\nFly-Region: ${edge.region}\r\n` +
    `X-Forwarded-For: ${forwardedFor}\r\nX-Forwarded-Proto: ${tls ? "https" : "http"}\r\n` +
    `X-Forwarded-Port: ${forwardedPort}\r\nX-Forwarded-Ssl: ${
      tls ? "on" : "off"
    }\r\nVia: 1.1 ${edge.serverName}\r\n\r\n`;
}

/** Lines that every response gets. */
export function responseFields(edge: Edge, exchange: Exchange, hasDate: boolean): string {
  const date = hasDate ? "" : `Date: ${edge.httpDate()}\r\n`;
  // The edge that sent the request signs the response.
  if (exchange.peer !== null) return date;
  const edits = exchange.service?.policy?.headerEdits ?? null;
  if (edits !== null) {
    return date + (edits.server ? `Server: ${edge.serverName}\r\n` : "") +
      (edits.via ? `Via: 1.1 ${edge.serverName}\r\n` : "") +
      (edits.requestId ? `Fly-Request-Id: ${exchange.id}\r\n` : "");
  }
  const { alternative } = exchange.client.listener;
  const elsewhere = alternative === undefined ? "" : alternative.altSvc(exchange.client.serverName);
  return `${date}${elsewhere}${edge.responseSignature}${exchange.id}\r\n`;
}

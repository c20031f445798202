/** Answers that no machine gave: refusals with their pages, and the edge's own pages. */
import { messageOf } from "../../control/contract/errors.ts";
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import { accept } from "./accept.ts";
import { errorPage } from "./error-page.ts";
import type { Exchange } from "./exchange.ts";
import type { SendBack } from "./peer.ts";
import { responseFields } from "./upstream-head.ts";

const EMPTY = Buffer.alloc(0);

export function refuse(edge: Edge, exchange: Exchange, why: Refusal): void {
  if (exchange.finished) return;
  // What the parser refuses never went through serve().
  if (exchange.id === "") accept(edge, exchange);
  const upstream = exchange.upstream;
  exchange.upstream = null;
  upstream?.abandon();
  exchange.waiter?.cancel();
  // A head that could not be read says nothing about where the next one begins.
  if (exchange.head.method === "") exchange.head.keepAlive = false;
  exchange.status = why.status;
  exchange.code = why.code;
  const page = errorPage(why, exchange.id, exchange.head.accept);
  const retryAfter = why.retryAfterS === null ? "" : `Retry-After: ${why.retryAfterS}\r\n`;
  const allow = why.status === 405 ? "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" : "";
  reply(
    edge,
    exchange,
    page.contentType,
    page.body,
    `Fly-Error-Code: ${why.family}\r\n${retryAfter}${allow}${exchange.answerFields}`,
  );
}

/** Back to the edge that sent the request, to be picked again. */
export function respondSendBack(edge: Edge, exchange: Exchange, why: SendBack): void {
  const recentlyStopped = why === "recently_stopped";
  exchange.status = 503;
  exchange.code = recentlyStopped ? "edge.recently_stopped" : "edge.sent_back";
  exchange.respondedMs = edge.nowMs();
  exchange.responseStarted = true;
  const family = recentlyStopped ? "Fly-Error-Code: PM11\r\n" : "";
  exchange.client.respond(exchange, 503, `Godwit-Send-Back: ${why}\r\n${family}`, EMPTY);
}

/** To an edge that asked for a start: it is under way, or was not needed. */
export function respondAccepted(edge: Edge, exchange: Exchange): void {
  exchange.status = 202;
  exchange.respondedMs = edge.nowMs();
  exchange.responseStarted = true;
  exchange.client.respond(exchange, 202, "", EMPTY);
}

/** Sends what one of the edge's own pages returned. */
export function answer(edge: Edge, exchange: Exchange, own: Response | Promise<Response>): void {
  Promise.resolve(own).then(async (response) => {
    const body = Buffer.from(await response.arrayBuffer());
    if (exchange.finished) return;
    exchange.status = response.status;
    reply(edge, exchange, response.headers.get("content-type") ?? "text/plain; charset=utf-8", body, "");
  }).catch((error) => {
    edge.log.error({ err: messageOf(error), target: exchange.head.target }, "an admin page failed");
    exchange.client.close();
  });
}

function reply(edge: Edge, exchange: Exchange, contentType: string, body: Buffer, fields: string): void {
  exchange.respondedMs = edge.nowMs();
  exchange.responseStarted = true;
  exchange.client.respond(
    exchange,
    exchange.status,
    `Content-Type: ${contentType}\r\n${fields}${responseFields(edge, exchange, false)}`,
    body,
  );
}

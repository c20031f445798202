/**
 * Limits are held where they are true: at the edge of the machine's own host, which sees all that the machine has under
 * way. An edge in front picks by what it knows and sends the request there; that edge looks at its own table and counts,
 * and where the machine is gone, not running, out of reach or at its hard limit it sends the request back, and the first
 * edge picks again without telling the client.
 *
 * There can be no loop: a peer serves its own host's machines alone and forwards to no other. After a few such returns, or
 * where the request could not be sent a second time (its body is large), the request is `final`: the peer then holds it, starts
 * the machine or refuses it, as an edge does that stands alone.
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import { steering } from "../balance/steering.ts";
import type { Exchange } from "./exchange.ts";
import type { NotPicked } from "./pick.ts";
import { INSTANCE_UNAVAILABLE, PEER_REFUSED } from "./refusals.ts";
import { respondSendBack } from "./respond.ts";
import { release } from "./send.ts";
import { struck } from "./eject.ts";
import { Wish } from "./wish.ts";

/** `recently_stopped`: the reference's PM11. */
export type SendBack = NotPicked | "unreachable" | "recently_stopped";

/** find, for a request that another edge has sent. */
export function findForPeer(edge: Edge, exchange: Exchange): Refusal | null {
  const peer = edge.peers?.read(exchange.head.peer) ?? null;
  if (peer === null) {
    edge.balance.peersRefused++;
    return PEER_REFUSED;
  }
  exchange.peer = peer;
  exchange.id = peer.request_id;
  const machine = edge.routes.machine(`${edge.hostId}/${peer.machine}`);
  if (machine === null) return INSTANCE_UNAVAILABLE;
  exchange.app = machine.app;
  exchange.service = machine.app.service(peer.port);
  exchange.wish = new Wish(steering({ forceInstance: peer.machine }));
  return null;
}

/** @returns false where the request is to be answered here */
export function sendBack(edge: Edge, exchange: Exchange, cause: SendBack): boolean {
  if (exchange.peer === null || exchange.peer.final || exchange.bodySent) return false;
  const machine = edge.routes.machine(`${edge.hostId}/${exchange.peer.machine}`);
  const stopped = machine !== null && edge.routes.justStopped(machine);
  const why = stopped ? "recently_stopped" : cause;
  edge.balance.sendBacks.set(why, (edge.balance.sendBacks.get(why) ?? 0) + 1);
  respondSendBack(edge, exchange, why);
  return true;
}

/**
 * The machine's edge has sent the request back: it is to be picked again.
 *
 * @returns the refusal to answer with where the request cannot be sent again
 */
export function afterSendBack(edge: Edge, exchange: Exchange, why: string): Refusal | null {
  exchange.sendBacks++;
  edge.balance.sentBack++;
  if (why === "unreachable") struck(edge, exchange, "unreachable");
  (exchange.wish ??= new Wish()).avoid(exchange.backend!);
  release(edge, exchange);
  return exchange.repeatable ? null : INSTANCE_UNAVAILABLE;
}

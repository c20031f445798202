/**
 * Life of a request, top to bottom: accept → (Hono: ours or an app's?) → find → admit → pick, or hold and pick again →
 * send → tally. Each stage is a file; this one only says what follows what.
 */
import type { Edge } from "../edge.ts";
import { editResponse } from "../policy/edit-response.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { ResponseHead } from "../relay/response-head.ts";
import type { UpstreamFailure } from "../relay/relay-context.ts";
import { Backend } from "../routes/backend.ts";
import type { Instruction } from "../replay/instruction.ts";
import { fallBack, replayAsked, replayEnded, type ReplayFailure, replayTo } from "../replay/replay.ts";
import { REPLAY_TIMED_OUT } from "../replay/replay-refusals.ts";
import { BAD_RESPONSE } from "./refusals.ts";
import { accept } from "./accept.ts";
import { admit, admitTunnel, applyLimits } from "./admit.ts";
import { decide } from "./decide.ts";
import { answered } from "./eject.ts";
import type { Exchange } from "./exchange.ts";
import { find } from "./find.ts";
import { hold } from "./hold.ts";
import { noMachine } from "./no-machine.ts";
import { afterSendBack, findForPeer, sendBack } from "./peer.ts";
import { lastResort, pick, pickWished } from "./pick.ts";
import { answer, refuse } from "./respond.ts";
import { afterFailure, release, send, unreachable } from "./send.ts";
import { startAnother, startForPeer, startMachine } from "./start-machine.ts";
import { tally } from "./tally.ts";

export function serve(edge: Edge, exchange: Exchange): void {
  accept(edge, exchange);
  if (exchange.client.listener.peer === true) return serveForPeer(edge, exchange);
  const own = decide(edge, exchange);
  if (own !== null) return answer(edge, exchange, own);
  proceed(edge, exchange, find(edge, exchange) ?? admit(edge, exchange));
}

function proceed(edge: Edge, exchange: Exchange, verdict: Refusal | Promise<Refusal | null> | null): void {
  if (verdict === null) return dispatch(edge, exchange);
  if (verdict instanceof Promise) return admitLater(edge, exchange, verdict);
  refuse(edge, exchange, verdict);
}

/** Bytes without requests: nothing of ours to answer, and no token to ask for. */
export function serveTunnel(edge: Edge, exchange: Exchange): void {
  accept(edge, exchange);
  const refusal = find(edge, exchange) ?? admitTunnel(edge, exchange);
  if (refusal !== null) return refuse(edge, exchange, refusal);
  dispatch(edge, exchange);
}

/** A token is being checked: the request waits where it is, its body unread. */
function admitLater(edge: Edge, exchange: Exchange, verdict: Promise<Refusal | null>): void {
  verdict.then((refusal) => {
    if (exchange.finished) return;
    if (refusal === null) dispatch(edge, exchange);
    else refuse(edge, exchange, refusal);
  }).catch((error) => exchange.client.onFault(error));
}

/** From another edge, which has admitted it: only the last two questions are left. */
function serveForPeer(edge: Edge, exchange: Exchange): void {
  const refusal = findForPeer(edge, exchange);
  if (refusal === null) applyLimits(exchange);
  if (exchange.peer?.start === true) return startForPeer(edge, exchange, refusal);
  if (refusal === null) dispatch(edge, exchange);
  else if (!sendBack(edge, exchange, "none")) refuse(edge, exchange, refusal);
}

/** From pick on, because a request that was held, or whose machine refused it, comes back here. */
export function dispatch(edge: Edge, exchange: Exchange): void {
  const { service, wish } = exchange;
  const { distances } = edge.routes;
  const picked = wish === null
    ? pick(service!, distances, edge.nowMs(), edge.random)
    : pickWished(service!, wish, distances, edge.nowMs());
  if (typeof picked !== "string") {
    if (service!.startable > 0 && picked.inFlight >= picked.softLimit) startAnother(edge, exchange);
    return send(edge, exchange, picked);
  }
  if (sendBack(edge, exchange, picked)) return;
  const wait = picked === "starting" || picked === "full"
    ? picked
    : picked === "stopped"
    ? startMachine(edge, exchange)
    : noMachine(exchange, picked);
  if (wait instanceof Backend) return send(edge, exchange, wait);
  if (typeof wait !== "string" && picked === "stopped" && wish === null) {
    const last = lastResort(service!, edge.nowMs());
    if (last !== null) return send(edge, exchange, last);
  }
  if (typeof wait !== "string") return giveUp(edge, exchange, wait, "no_candidate");
  const refusal = hold(edge, exchange, wait, {
    again: () => dispatch(edge, exchange),
    refuse: (why) => giveUp(edge, exchange, why, "no_candidate"),
  });
  if (refusal !== null) giveUp(edge, exchange, refusal, "no_candidate");
}

/** No machine answers. Where one had asked that another does, it may have said who answers then. */
function giveUp(edge: Edge, exchange: Exchange, why: Refusal, reason: ReplayFailure): void {
  const refusal = exchange.replay === null ? why : fallBack(edge, exchange, why, reason);
  if (refusal === null) dispatch(edge, exchange);
  else refuse(edge, exchange, refusal);
}

/** A machine has asked that another one answers. */
function replay(edge: Edge, exchange: Exchange, instruction: Instruction | string): void {
  proceed(
    edge,
    exchange,
    replayTo(edge, exchange, instruction, () => giveUp(edge, exchange, REPLAY_TIMED_OUT, "timeout")),
  );
}

/**
 * The machine's response has come, and nothing of it has gone out yet.
 * @returns null where it goes to the client; else what takes the exchange on
 */
export function received(edge: Edge, exchange: Exchange, head: ResponseHead): (() => void) | null {
  const why = head.sendBack;
  if (why !== null && exchange.backend!.viaPeer && !exchange.dedicated) {
    exchange.trace?.failed("sent_back", edge.nowMs());
    return () => again(edge, exchange, afterSendBack(edge, exchange, why));
  }
  if (exchange.backend!.breaker !== null) answered(edge, exchange);
  exchange.trace?.answered(head.status);
  if ((head.replay !== null || head.replayInBody) && exchange.peer === null) {
    const asked = replayAsked(edge, exchange, head, {
      replay: (instruction) => replay(edge, exchange, instruction),
      cut: () => refuse(edge, exchange, BAD_RESPONSE),
    });
    if (asked !== "no") return asked;
  }
  exchange.kept?.drop(exchange.upstream?.tookAll === true ? edge.relay.sockets.spent : null);
  const policy = exchange.service!.policy;
  // The edge in front has the policies.
  if (policy !== null && exchange.peer === null) editResponse(edge, exchange, head, policy);
  return null;
}

/** The picked machine gave no response. */
export function failed(edge: Edge, exchange: Exchange, failure: UpstreamFailure): void {
  exchange.trace?.failed(failure.kind, edge.nowMs());
  const refusal = afterFailure(edge, exchange, failure);
  if (unreachable(failure)) {
    const warm = exchange.servedBy!.warmUntilMs > edge.nowMs();
    if (sendBack(edge, exchange, warm ? "starting" : "unreachable")) return;
  }
  if (exchange.replay !== null && !unreachable(failure)) exchange.replay.reached = true;
  again(edge, exchange, refusal);
}

function again(edge: Edge, exchange: Exchange, refusal: Refusal | null): void {
  if (refusal === null) dispatch(edge, exchange);
  else giveUp(edge, exchange, refusal, "retries_exhausted");
}

/** The last thing that happens to an exchange, whatever became of it. */
export function finished(edge: Edge, exchange: Exchange): void {
  if (exchange.finished) return;
  exchange.finished = true;
  release(edge, exchange);
  if (exchange.kept !== null || exchange.replay !== null) replayEnded(edge, exchange);
  tally(edge, exchange);
}

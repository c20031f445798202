/**
 * Life of a request, top to bottom: accept → (Hono: ours or an app's?) → admit → find → pick, or hold and pick again →
 * send → tally. Each stage is a file; this one only says what follows what.
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { ResponseHead } from "../relay/response-head.ts";
import type { UpstreamFailure } from "../relay/relay-context.ts";
import { accept } from "./accept.ts";
import { admit } from "./admit.ts";
import { decide } from "./decide.ts";
import type { Exchange } from "./exchange.ts";
import { find } from "./find.ts";
import { hold } from "./hold.ts";
import { pick } from "./pick.ts";
import { NO_MACHINE } from "./refusals.ts";
import { answer, refuse } from "./respond.ts";
import { afterFailure, release, send } from "./send.ts";
import { tally } from "./tally.ts";

export function serve(edge: Edge, exchange: Exchange): void {
  accept(edge, exchange);
  const own = decide(edge, exchange);
  if (own !== null) return answer(edge, exchange, own);
  const refusal = admit(edge, exchange) ?? find(edge, exchange);
  if (refusal !== null) return refuse(edge, exchange, refusal);
  dispatch(edge, exchange);
}

/** From pick on, because a request that was held, or whose machine refused it, comes back here. */
export function dispatch(edge: Edge, exchange: Exchange): void {
  const picked = pick(exchange.service!, edge.nowMs(), edge.random);
  if (typeof picked !== "string") return send(edge, exchange, picked);
  if (picked === "none") return refuse(edge, exchange, NO_MACHINE);
  const refusal = hold(edge, exchange, picked, {
    again: () => dispatch(edge, exchange),
    refuse: (why) => refuse(edge, exchange, why),
  });
  if (refusal !== null) refuse(edge, exchange, refusal);
}

/**
 * The machine's response has come, and nothing of it has gone out yet.
 * @returns null where it goes to the client; else what takes the exchange on
 */
export function received(_edge: Edge, _exchange: Exchange, _head: ResponseHead): (() => void) | null {
  return null;
}

/** The picked machine gave no response. */
export function failed(edge: Edge, exchange: Exchange, failure: UpstreamFailure): void {
  const refusal: Refusal | null = afterFailure(edge, exchange, failure);
  if (refusal === null) dispatch(edge, exchange);
  else refuse(edge, exchange, refusal);
}

/** The last thing that happens to an exchange, whatever became of it. */
export function finished(edge: Edge, exchange: Exchange): void {
  if (exchange.finished) return;
  exchange.finished = true;
  release(exchange);
  tally(edge, exchange);
}

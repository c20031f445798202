/**
 * send: hand the exchange to a connection of the picked machine, and decide what a failure of that means. A request is
 * sent again only while it cannot have been seen: the connection was refused, or a kept-alive connection turned out to be
 * closed and the request is idempotent and has no body.
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { UpstreamFailure } from "../relay/relay-context.ts";
import { UpstreamConnection } from "../relay/upstream-connection.ts";
import type { Backend } from "../routes/backend.ts";
import { KeptBody, REPLAY_BODY_BYTES_MAX } from "../replay/kept-body.ts";
import { CLOSED } from "../balance/breaker.ts";
import { answered, probe, probeEnded, struck } from "./eject.ts";
import type { Exchange } from "./exchange.ts";
import { retryWarmSoon, wakeAllFor, wakeOneFor } from "./hold.ts";
import { BAD_RESPONSE, MACHINE_REFUSED, MACHINE_RESET, MACHINE_TIMEOUT } from "./refusals.ts";
import { upstreamHead } from "./upstream-head.ts";
import { Wish } from "./wish.ts";

export const ATTEMPTS_MAX = 3;
/** Machines that one request tries to connect to; the reference's bound is 90. */
export const CONNECT_ATTEMPTS_MAX = 10;
/** A machine that has just started may not have its network yet; a lost SYN would cost a whole second. */
export const WARM_CONNECT_WAIT_MS = 250;

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function send(edge: Edge, exchange: Exchange, backend: Backend): void {
  exchange.backend = backend;
  exchange.servedBy = backend;
  exchange.sends++;
  exchange.connectMs = -1;
  exchange.load = ++backend.inFlight;
  backend.used = true;
  if (backend.breaker !== null) probe(edge, exchange, backend);
  exchange.trace?.sent(exchange, backend, edge.nowMs());
  // Made anew where it names the machine or the attempt: what was for one must not reach another.
  if (
    exchange.upstreamHead === "" || exchange.wish !== null || edge.peers !== null || exchange.trace !== null
  ) {
    exchange.upstreamHead = upstreamHead(edge, exchange);
  }
  const length = exchange.head.contentLength;
  if (length !== 0 && length <= REPLAY_BODY_BYTES_MAX && exchange.kept === null && !exchange.bodySent) {
    exchange.kept = new KeptBody(edge.replays.bodies);
  }
  const http2 = backend.http2;
  // Another edge speaks HTTP/1.1 with this one, and the machine's own language with the machine.
  if (
    http2 !== null && !exchange.dedicated && !backend.viaPeer && exchange.head.upgrade === null &&
    http2.ports.includes(exchange.service!.port)
  ) {
    exchange.connectStartedMs = edge.nowMs();
    return http2.send(edge.relay, exchange, backend, connectWaitMs(edge, backend));
  }
  const kept = exchange.freshOnly || exchange.dedicated ? null : backend.take();
  if (kept !== null) return kept.reuse(exchange);
  const upstream = new UpstreamConnection(edge.relay, backend, exchange);
  exchange.upstream = upstream;
  exchange.connectStartedMs = edge.nowMs();
  upstream.connect(connectWaitMs(edge, backend));
}

function connectWaitMs(edge: Edge, backend: Backend): number {
  const warm = backend.warmUntilMs > edge.nowMs() && backend.breaker !== null;
  return warm ? WARM_CONNECT_WAIT_MS : edge.limits.connectWaitMsMax;
}

/** The connection stands. If others wait for this machine to listen, it does now. */
export function connected(edge: Edge, exchange: Exchange): void {
  const backend = exchange.backend!;
  const nowMs = edge.nowMs();
  exchange.connectMs = nowMs - exchange.connectStartedMs;
  edge.routes.distances.observe(backend.region, exchange.connectMs, nowMs);
  const counts = exchange.app!.counts ?? edge.metrics.apps.of(exchange.app!);
  counts.connects++;
  counts.connectTimes.observe(exchange.connectMs / 1_000);
  exchange.upstream!.counts = counts;
  if (backend.breaker?.reason !== "unreachable") return;
  answered(edge, exchange);
  backend.warmUntilMs = 0;
  wakeAllFor(exchange.app!, backend);
}

/** The exchange no longer counts as load of its machine; whoever waits for a place gets it. */
export function release(edge: Edge, exchange: Exchange): void {
  const backend = exchange.backend;
  if (backend === null) return;
  exchange.backend = null;
  backend.inFlight--;
  if (exchange.probe) probeEnded(edge, exchange, backend);
  // While a warm machine's next try is due, that try does the waking.
  if (backend.ejectedUntilMs !== Infinity) wakeOneFor(exchange.app!, backend);
}

export function unreachable(failure: UpstreamFailure): boolean {
  return failure.kind === "refused" || failure.kind === "connect_timeout";
}

/** @returns the refusal to answer with, or null where the request is to be picked a machine again */
export function afterFailure(edge: Edge, exchange: Exchange, failure: UpstreamFailure): Refusal | null {
  const backend = exchange.backend!;
  const service = exchange.service!;
  const neverConnected = unreachable(failure);
  if (neverConnected && backend.warmUntilMs > edge.nowMs() && !backend.retired && !backend.hostDead) {
    backend.breaker = { ...CLOSED, reason: "unreachable", failures: 1 };
    // In this order: a release that woke the next one at once would make a storm of tries.
    retryWarmSoon(exchange.app!, backend);
    release(edge, exchange);
    return null;
  }
  if (neverConnected) struck(edge, exchange, "unreachable");
  // A kept connection that turns out closed says nothing: servers close idle ones as they like.
  else if (failure.kind === "reset" && !failure.reused) struck(edge, exchange, "reset");
  release(edge, exchange);
  exchange.attempts++;
  if (neverConnected) {
    const wish = exchange.wish ??= new Wish();
    wish.avoid(backend);
    const others = wish.steering.forceInstance === null;
    if (others && exchange.attempts < Math.min(CONNECT_ATTEMPTS_MAX, service.size)) return null;
    return failure.kind === "refused" ? MACHINE_REFUSED : MACHINE_TIMEOUT;
  }
  if (failure.kind === "response_timeout") return MACHINE_TIMEOUT;
  if (failure.kind === "bad_response") return BAD_RESPONSE;
  const unseen = failure.unseen === true || (failure.reused && IDEMPOTENT.has(exchange.head.method));
  const repeatable = unseen && exchange.repeatable;
  if (!repeatable || exchange.attempts >= ATTEMPTS_MAX) return MACHINE_RESET;
  exchange.freshOnly = true;
  return null;
}

/** Applies `balance/breaker.ts` to machines: what was seen of one goes in, how long it is passed over comes out. */
import { type Breaker, breakerAfter, type BreakerEvent, CLOSED } from "../balance/breaker.ts";
import type { Edge } from "../edge.ts";
import type { ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import type { Exchange } from "./exchange.ts";

/** Failed before a response began, through a fault that may be the machine's. */
export function struck(edge: Edge, exchange: Exchange, event: "unreachable" | "reset"): void {
  const backend = exchange.backend!;
  if (backend.retired) return;
  const nowMs = edge.nowMs();
  const before = backend.breaker ?? CLOSED;
  const mayOpen = before.state !== "closed" || mayEject(exchange.service!, nowMs);
  const after = move(edge, backend, event, nowMs, mayOpen);
  if (after.state === "open" && before.state !== "open") {
    edge.balance.ejections.set(event, (edge.balance.ejections.get(event) ?? 0) + 1);
  } else if (!mayOpen && event === "unreachable") edge.balance.ejectionsSpared++;
  if (exchange.probe) {
    exchange.probe = false;
    edge.balance.probesFailed++;
  }
}

/** A response began, or a connection stands where none did. */
export function answered(edge: Edge, exchange: Exchange): void {
  const backend = exchange.backend!;
  if (exchange.probe) {
    exchange.probe = false;
    edge.balance.probesAnswered++;
  }
  move(edge, backend, "answered", edge.nowMs(), true);
  // A warm machine is passed over without being open.
  if (backend.ejectedUntilMs === Infinity) backend.ejectedUntilMs = 0;
}

/** A request goes to a machine that was passed over: nobody else does until it is known how this one fares. */
export function probe(edge: Edge, exchange: Exchange, backend: Backend): void {
  if (backend.breaker!.state === "closed") return;
  exchange.probe = true;
  move(edge, backend, "probed", edge.nowMs(), true);
}

export function probeEnded(edge: Edge, exchange: Exchange, backend: Backend): void {
  exchange.probe = false;
  move(edge, backend, "probe_lost", edge.nowMs(), true);
}

function move(edge: Edge, backend: Backend, event: BreakerEvent, nowMs: number, mayOpen: boolean): Breaker {
  const before = backend.breaker ?? CLOSED;
  const after = breakerAfter(before, event, nowMs, edge.random(), mayOpen);
  backend.breaker = after === CLOSED ? null : after;
  if (after.state !== "closed") {
    backend.eject(after.untilMs);
    edge.balance.ejected.add(backend);
  } else if (before.state !== "closed") {
    backend.eject(0);
    edge.balance.ejected.delete(backend);
  }
  return after;
}

/** At most half of a service's machines are passed over. */
function mayEject(service: ServiceRoute, nowMs: number): boolean {
  let count = 0, ejected = 0;
  for (const backend of service.backends()) {
    count++;
    if (backend.ejectedUntilMs > nowMs) ejected++;
  }
  return (ejected + 1) * 2 <= count;
}

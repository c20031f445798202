/**
 * hold: no machine can take the request now, but one will. The request waits, bounded in time and number, and is woken
 * by what it waits for: the route table when a machine's row changes, a finished request when all were full, a short
 * timer when a started machine's app does not listen yet. Nothing polls.
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import { Waiter } from "../routes/waiters.ts";
import type { Exchange } from "./exchange.ts";
import { HELD_TOO_LONG, MACHINES_FULL, TOO_MANY_WAITING } from "./refusals.ts";

/** All of a request's waits together. */
export const holdWaitMsMax = 30_000;
export const holdWaitersPerServiceMax = 1_024;
/** Between two tries at a machine that has just started; the first answer then comes this much late at most. */
export const WARM_RETRY_MS = 5;

/** @returns a refusal where the request cannot wait; else it is woken through `again` */
export function hold(
  edge: Edge,
  exchange: Exchange,
  why: "starting" | "full",
  next: { again: () => void; refuse: (why: Refusal) => void },
): Refusal | null {
  const service = exchange.service!;
  const late = why === "full" ? MACHINES_FULL : HELD_TOO_LONG;
  if (service.waiters.size >= edge.holdWaitersMax) return TOO_MANY_WAITING;
  const leftMs = edge.holdWaitMsMax - exchange.heldMs;
  if (leftMs <= 0) return late;
  const nowMs = edge.nowMs();
  const done = () => {
    exchange.waiter = null;
    exchange.heldMs += edge.nowMs() - nowMs;
    edge.deadlines.remove(waiter);
  };
  const waiter: Waiter = new Waiter(service.waiters, nowMs, leftMs, {
    wake() {
      done();
      if (!exchange.finished) next.again();
    },
    expired() {
      done();
      next.refuse(late);
    },
  });
  exchange.waiter = waiter;
  edge.deadlines.add(waiter);
  service.waiters.add(waiter);
  return null;
}

/** One request after another tries the machine until it listens; then `wakeAll` lets the rest through. */
export function retryWarmSoon(service: ServiceRoute, backend: Backend): void {
  backend.ejectedUntilMs = Infinity;
  setTimeout(() => {
    backend.ejectedUntilMs = 0;
    service.waiters.wakeOne();
  }, WARM_RETRY_MS);
}

/**
 * hold: no machine can take the request now, but one will. The request waits, bounded in time and number, and is woken
 * by what it waits for: the route table when a machine's row changes, a finished request when all were full, a short
 * timer when a started machine's app does not listen yet. Nothing polls.
 */
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { AppRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import { Waiter, type Waiters } from "../routes/waiters.ts";
import { loopClock } from "../runtime/loop-clock.ts";
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
    cancelled: done,
    fault: (error) => exchange.client.onFault(error),
  });
  exchange.waiter = waiter;
  edge.deadlines.add(waiter);
  service.waiters.add(waiter);
  return null;
}

/** One request after another tries the machine until it listens; then `wakeAllFor` lets the rest through. */
export function retryWarmSoon(app: AppRoute, backend: Backend): void {
  // Others that were refused at the same moment find the next try already due.
  if (backend.ejectedUntilMs === Infinity) return;
  backend.ejectedUntilMs = Infinity;
  setTimeout(() => {
    loopClock.tick();
    backend.ejectedUntilMs = 0;
    wakeOneFor(app, backend);
  }, WARM_RETRY_MS);
}

/** A place at this machine is free: whoever has waited for it longest, at whichever of the app's ports. */
export function wakeOneFor(app: AppRoute, backend: Backend): void {
  let longest: Waiters | null = null;
  for (const { near, far, waiters } of app.services.values()) {
    if (waiters.size === 0 || waiters.oldestMs >= (longest?.oldestMs ?? Infinity)) continue;
    if (near.includes(backend) || far.includes(backend)) longest = waiters;
  }
  longest?.wakeOne();
}

export function wakeAllFor(app: AppRoute, backend: Backend): void {
  for (const { near, far, waiters } of app.services.values()) {
    if (near.includes(backend) || far.includes(backend)) waiters.wakeAll();
  }
}

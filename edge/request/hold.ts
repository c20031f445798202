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
  const { wish } = exchange;
  edge.balance.waiting++;
  const done = () => {
    edge.balance.waiting--;
    exchange.waiter = null;
    exchange.heldMs += edge.nowMs() - nowMs;
    edge.deadlines.remove(waiter);
  };
  // Who was woken in vain has waited since it first did.
  const sinceMs = nowMs - exchange.heldMs;
  const wants = wish === null ? null : (backend: Backend) => wish.wants(backend);
  const waiter: Waiter = new Waiter(service.waiters, sinceMs, exchange.heldMs + leftMs, {
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
  }, wants);
  exchange.waiter = waiter;
  edge.deadlines.add(waiter);
  service.waiters.add(waiter);
  return null;
}

/** One request after another tries the machine until it listens; then `wakeAllFor` lets the rest through. */
export function retryWarmSoon(app: AppRoute, backend: Backend): void {
  // Others that were refused at the same moment find the next try already due.
  if (backend.ejectedUntilMs === Infinity) return;
  backend.eject(Infinity);
  setTimeout(() => {
    loopClock.tick();
    backend.eject(0);
    wakeOneFor(app, backend);
  }, WARM_RETRY_MS);
}

/** A place at this machine is free: whoever has waited longest of those that may go there, at any of the app's ports. */
export function wakeOneFor(app: AppRoute, backend: Backend): void {
  if (app.waiting === 0) return;
  let longest: Waiter | null = null;
  let queue: Waiters | null = null;
  for (const service of app.services.values()) {
    const { waiting } = service;
    if (waiting === null || waiting.size === 0 || !service.has(backend)) continue;
    const first = waiting.firstFor(backend);
    if (first === null || first.sinceMs >= (longest?.sinceMs ?? Infinity)) continue;
    longest = first;
    queue = waiting;
  }
  if (longest !== null) queue!.wake(longest);
}

export function wakeAllFor(app: AppRoute, backend: Backend): void {
  if (app.waiting === 0) return;
  for (const service of app.services.values()) {
    if (service.waiting !== null && service.has(backend)) service.waiting.wakeAll();
  }
}

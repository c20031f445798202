/**
 * pick: which machine. Below its soft limit before above it, the edge's own region before others, then the less loaded of
 * two drawn at random: two draws spread load nearly as well as looking at all, at a constant price. Load is the share of
 * the soft limit that is taken, so that a machine twice as large gets twice as much. Never one at its hard limit. Another
 * region, the nearest first, only when every machine of the nearer ones is at its hard limit or passed over; a soft limit
 * sends nobody abroad. A machine that cannot be reached (`balance/breaker.ts`), or whose host is dead
 * (`balance/dead-hosts.ts`), is passed over.
 *
 * Pure: the clock's reading and the draw come in, nothing is changed.
 */
import type { RegionDistances } from "../balance/region-distance.ts";
import type { RegionPool, ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import type { Wish } from "./wish.ts";

/**
 * `starting`: one will be there soon. `full`: all at their hard limit. `stopped`: one could be started. `unhealthy`: those
 * that run fail their checks. `none`: nothing to wait for.
 */
export type NotPicked = "starting" | "full" | "stopped" | "unhealthy" | "none";

/** Pairs drawn before all machines are looked at. */
const DRAWS = 3;

/** @param random uniform in [0, 1) */
export function pick(
  service: ServiceRoute,
  distances: RegionDistances,
  nowMs: number,
  random: () => number,
): Backend | NotPicked {
  const drawn = draw(service.near, nowMs, random);
  if (drawn !== null) return drawn;
  const near = best(service.near, nowMs, null);
  if (near !== null) return near;
  if (service.far.length > 0) {
    for (const { backends } of service.farByDistance(distances)) {
      const far = draw(backends, nowMs, random) ?? best(backends, nowMs, null);
      if (far !== null) return far;
    }
  }
  return unpicked(service, nowMs);
}

/** Where the request asks for a place, or machines have failed it: rare, so every machine may be looked at. */
export function pickWished(
  service: ServiceRoute,
  wish: Wish,
  distances: RegionDistances,
  nowMs: number,
): Backend | NotPicked {
  const { forceInstance, preferInstance } = wish.steering;
  if (forceInstance !== null) {
    const forced = find(service, forceInstance);
    if (forced === null) return wish.missing(service);
    if (isWarming(forced, nowMs)) return "starting";
    // Passed over or not: the request wants this one.
    return forced.inFlight < forced.hardLimit ? forced : "full";
  }
  if (preferInstance !== null) {
    const preferred = find(service, preferInstance);
    if (preferred !== null && wish.allows(preferred) && takes(preferred, nowMs)) return preferred;
  }
  const pools = wish.pools(service, distances);
  for (const { backends } of pools) {
    const found = best(backends, nowMs, wish);
    if (found !== null) return found;
  }
  // A machine that failed this request is better than none; nothing that it asked for is given up for that.
  if (wish.forgive()) return pickWished(service, wish, distances, nowMs);
  return afterAll(pools, wish, service, nowMs) ?? wish.missing(service);
}

/** One that is below its soft limit, of a few pairs. */
function draw(backends: readonly Backend[], nowMs: number, random: () => number): Backend | null {
  const count = backends.length;
  if (count === 0) return null;
  for (let i = 0; i < DRAWS; i++) {
    let one = backends[count === 1 ? 0 : Math.floor(random() * count)]!;
    if (count > 1) {
      const two = backends[Math.floor(random() * count)]!;
      if (two.inFlight * one.softLimit < one.inFlight * two.softLimit) one = two;
    }
    if (one.inFlight < one.softLimit && one.inFlight < one.hardLimit && one.ejectedUntilMs <= nowMs) {
      return one;
    }
    if (count < 3) break;
  }
  return null;
}

/** The least loaded of those that take a request: of those below their soft limit where there is one. */
function best(backends: readonly Backend[], nowMs: number, wish: Wish | null): Backend | null {
  let found: Backend | null = null;
  let foundBelow = false;
  for (let i = 0; i < backends.length; i++) {
    const each = backends[i]!;
    const below = each.inFlight < each.softLimit;
    if ((foundBelow && !below) || !takes(each, nowMs) || (wish !== null && !wish.allows(each))) continue;
    if (
      found === null || (below && !foundBelow) ||
      each.inFlight * found.softLimit < found.inFlight * each.softLimit
    ) {
      found = each;
      foundBelow = below;
    }
  }
  return found;
}

/** What `pick` sees in a machine that is started, uncordoned and healthy. */
export type Fitness = "below_soft_limit" | "above_soft_limit" | "at_hard_limit" | "ejected" | "warming";

/** For who explains a pick; made of what it goes by. */
export function judge(backend: Backend, nowMs: number): Fitness {
  if (takes(backend, nowMs)) {
    return backend.inFlight < backend.softLimit ? "below_soft_limit" : "above_soft_limit";
  }
  if (isWarming(backend, nowMs)) return "warming";
  return backend.ejectedUntilMs > nowMs ? "ejected" : "at_hard_limit";
}

function takes(backend: Backend, nowMs: number): boolean {
  return backend.inFlight < backend.hardLimit && backend.ejectedUntilMs <= nowMs;
}

function find(service: ServiceRoute, machineId: string): Backend | null {
  for (const backend of service.near) if (backend.machineId === machineId) return backend;
  for (const { backends } of service.far) {
    for (const backend of backends) if (backend.machineId === machineId) return backend;
  }
  return null;
}

function isWarming(backend: Backend, nowMs: number): boolean {
  return backend.ejectedUntilMs > nowMs && backend.warmUntilMs > nowMs && !backend.hostDead;
}

/** @returns null where there are no machines in the pools */
function afterAll(
  pools: readonly RegionPool[],
  wish: Wish | null,
  service: ServiceRoute,
  nowMs: number,
): Backend | NotPicked | null {
  let any = false, full = false, warming = wish === null && service.starting > 0;
  let ejected: Backend | null = null;
  for (const { backends } of pools) {
    for (const backend of backends) {
      if (wish !== null && !wish.wants(backend)) continue;
      any = true;
      if (backend.ejectedUntilMs <= nowMs) full = true;
      else if (isWarming(backend, nowMs)) warming = true;
      else if (backend.inFlight < backend.hardLimit && (ejected === null || ejected.hostDead)) {
        ejected = backend;
      }
    }
  }
  if (warming) return "starting";
  if (full) return "full";
  // Where all are passed over, one is tried even so: it may be back.
  if (ejected !== null) return ejected;
  return any ? "full" : null;
}

/** Nothing can be started: a machine whose host is dead is better than none, because it may be alive after all. */
export function lastResort(service: ServiceRoute, nowMs: number): Backend | null {
  const found = afterAll(poolsOf(service), null, service, nowMs);
  return typeof found === "string" ? null : found;
}

/** All are passed over, full, or not there. */
function unpicked(service: ServiceRoute, nowMs: number): Backend | NotPicked {
  const found = afterAll(poolsOf(service), null, service, nowMs);
  // One that can be started is better than one whose host is dead.
  const lost = typeof found === "object" && (found === null || found.hostDead);
  if (lost && service.startable > 0) return "stopped";
  if (found !== null) return found;
  return service.unhealthy > 0 ? "unhealthy" : "none";
}

function poolsOf(service: ServiceRoute): readonly RegionPool[] {
  return [{ region: "", backends: service.near }, ...service.far];
}

/**
 * pick: which machine. Below its soft limit before above it, then the edge's own region, then the less loaded of two
 * drawn at random (two draws spread load nearly as well as looking at all, at a constant price). Never one at its hard
 * limit. A machine that refused a connection a moment ago is passed over while another will do.
 *
 * Pure: the clock's reading and the draw come in, nothing is changed.
 */
import type { ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";

/** `starting`: one will be there soon. `full`: all at their hard limit. `none`: nothing to wait for. */
export type NotPicked = "starting" | "full" | "none";

/** @param random uniform in [0, 1) */
export function pick(service: ServiceRoute, nowMs: number, random: () => number): Backend | NotPicked {
  const { near, far } = service;
  const quick = drawTwo(near, nowMs, random);
  if (quick !== null) return quick;
  return best(near, nowMs, below) ?? best(near, nowMs, under) ?? best(far, nowMs, below) ??
    best(far, nowMs, under) ?? fallback(service, nowMs);
}

type Fits = (backend: Backend) => boolean;
const below: Fits = (backend) => backend.inFlight < backend.softLimit;
const under: Fits = (backend) => backend.inFlight < backend.hardLimit;

function drawTwo(backends: readonly Backend[], nowMs: number, random: () => number): Backend | null {
  const count = backends.length;
  if (count === 0) return null;
  let one = backends[count === 1 ? 0 : Math.floor(random() * count)]!;
  if (count > 1) {
    const two = backends[Math.floor(random() * count)]!;
    if (two.inFlight < one.inFlight) one = two;
  }
  return one.inFlight < one.softLimit && one.inFlight < one.hardLimit && one.ejectedUntilMs <= nowMs
    ? one
    : null;
}

/** The least loaded of those that fit; looked for only where the draw did not find one. */
function best(backends: readonly Backend[], nowMs: number, fits: Fits): Backend | null {
  let found: Backend | null = null;
  for (const backend of backends) {
    if (!fits(backend) || !under(backend) || backend.ejectedUntilMs > nowMs) continue;
    if (found === null || backend.inFlight < found.inFlight) found = backend;
  }
  return found;
}

/** All are ejected, full, or not there. */
function fallback(service: ServiceRoute, nowMs: number): Backend | NotPicked {
  let ejected: Backend | null = null;
  let warming = service.starting > 0;
  for (const list of [service.near, service.far]) {
    for (const backend of list) {
      if (backend.ejectedUntilMs <= nowMs) continue;
      if (backend.warmUntilMs > nowMs) warming = true;
      else if (under(backend)) ejected ??= backend;
    }
  }
  if (warming) return "starting";
  // The last one left is tried even so: it may be back.
  if (ejected !== null) return ejected;
  return service.near.length + service.far.length > 0 ? "full" : "none";
}

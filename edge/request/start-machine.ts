/**
 * start: nobody runs who could take the request, but a stopped or suspended machine may be started for it. The nearest
 * one is, once for however many wait; a machine of another host is started by that host's edge, which gets the request
 * (`peer.ts`). What goes to machines straight, bytes without requests, waits here until that edge has had it started. The
 * same is done, without waiting, where all that run are above their soft limits.
 */
import { UNREACHABLE } from "../balance/door-answer.ts";
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import { Backend } from "../routes/backend.ts";
import type { PeerHost } from "../routes/backend.ts";
import type { MachineEntry } from "../routes/machine-entry.ts";
import type { Exchange } from "./exchange.ts";
import { noMachine } from "./no-machine.ts";
import { pickWished } from "./pick.ts";
import { START_FAILED, START_NO_CAPACITY, TOO_MANY_WAITING, WORKER_UNREACHABLE } from "./refusals.ts";
import { refuse, respondAccepted } from "./respond.ts";

/** @returns a refusal; `starting`, to be waited for; or where to send the request so that its machine is started there */
export function startMachine(edge: Edge, exchange: Exchange): Refusal | "starting" | Backend {
  let failed: string | null = null;
  for (const machine of startable(edge, exchange)) {
    const by = starterOf(edge, machine);
    if (by === null) continue;
    const { port } = exchange.service!;
    if (by !== "worker" && !exchange.dedicated) return throughPeer(machine, port, by);
    const state = (by === "worker" ? edge.starts! : edge.peerStarts!).state(machine.id);
    if (state?.kind === "failed") {
      failed ??= state.code;
      continue;
    }
    const asked = by === "worker"
      ? edge.starts!.ask(machine.id, null)
      : edge.peerStarts!.ask(machine.id, { host: machine.hostId, target: by.target!, port });
    return asked ? "starting" : TOO_MANY_WAITING;
  }
  return failed === null ? noMachine(exchange, "none") : refusalOf(failed);
}

/** Who can start it for this edge: the worker beside it, or the edge of the machine's host. */
export function starterOf(
  edge: Pick<Edge, "routes" | "starts" | "hostId">,
  machine: MachineEntry,
): "worker" | PeerHost | null {
  const peer = edge.routes.peerOf(machine);
  if (peer !== null && peer.target !== null) return peer;
  return edge.starts !== null && machine.hostId === edge.hostId ? "worker" : null;
}

/**
 * All machines that run are above their soft limits: one more is started, if one of this host may be. One that was stopped
 * in the last minutes stays so as long as others serve (the reference's PM11): a peak that passes wakes nobody twice.
 */
export function startAnother(edge: Edge, exchange: Exchange): void {
  const { starts } = edge;
  if (starts === null || exchange.service!.starting > 0) return;
  for (const machine of startable(edge, exchange)) {
    if (machine.hostId !== edge.hostId) continue;
    const state = starts.state(machine.id, true);
    if (state !== null && state.kind !== "asked") continue;
    if (state === null) starts.ask(machine.id, null, true);
    return;
  }
}

/** Those of dead hosts last; nearest first; of those alike, a suspended one first, because it is back sooner. */
export function startable(
  edge: Pick<Edge, "routes" | "region">,
  exchange: Pick<Exchange, "service" | "wish" | "app">,
): MachineEntry[] {
  const { service, wish, app } = exchange;
  const found = app!.machines.filter((machine) =>
    machine.startable && !machine.cordoned && machine.serviceAt(service!.port) !== null &&
    machine.serviceAt(service!.port)!.auto_start_machines !== false &&
    (wish === null || wish.wants({ machineId: machine.id, region: machine.region }))
  );
  const { distances } = edge.routes;
  const distance = (machine: MachineEntry) =>
    machine.region === edge.region ? -1 : distances.of(machine.region);
  return found.sort((a, b) => {
    if (a.host.dead !== b.host.dead) return a.host.dead ? 1 : -1;
    const near = distance(a), far = distance(b);
    if (near !== far) return near < far ? -1 : 1;
    if (a.state !== b.state) return a.state === "suspended" ? -1 : 1;
    return a.id < b.id ? -1 : 1;
  });
}

/** Another edge has a connection for the machine that cannot come by way of this one: it needs the machine started. */
export function startForPeer(edge: Edge, exchange: Exchange, refusal: Refusal | null): void {
  const found = refusal ?? pickWished(exchange.service!, exchange.wish!, edge.routes.distances, edge.nowMs());
  const started = found === "stopped" ? startMachine(edge, exchange) : found;
  if (started instanceof Backend || started === "starting" || started === "full") {
    return respondAccepted(edge, exchange);
  }
  refuse(edge, exchange, typeof started === "string" ? noMachine(exchange, started) : started);
}

/** Stands for a machine that does not run yet, for this request alone. */
function throughPeer(machine: MachineEntry, port: number, peer: Backend["peer"]): Backend {
  const internalPort = machine.serviceAt(port)!.internal_port;
  const backend = new Backend(machine.id, machine.region, "", internalPort, peer);
  backend.retire();
  return backend;
}

function refusalOf(code: string): Refusal {
  if (code === UNREACHABLE || code === WORKER_UNREACHABLE.code) return WORKER_UNREACHABLE;
  // The worker's word for it, and another edge's.
  const full = code === "place.no_capacity" || code === START_NO_CAPACITY.code;
  return full ? START_NO_CAPACITY : START_FAILED;
}

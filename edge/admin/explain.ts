/**
 * Why a request would go where it would: each stage's own decision, made now and without sending anything, and the rows
 * behind it. The stages' pure parts run as they are; nothing of them is written down here a second time, so an explanation
 * cannot disagree with the edge.
 */
import type { Explanation, MachineVerdict } from "../../control/contract/explanation.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { Starts } from "../balance/starts.ts";
import { HeadScanner, NEED_MORE } from "../relay/head-scanner.ts";
import type { Limits } from "../relay/limits.ts";
import { BAD_REQUEST_LINE, type Refusal } from "../relay/refusal.ts";
import { parseRequestHead, RequestHead } from "../relay/request-head.ts";
import type { Policy } from "../policy/policy.ts";
import { HTTPS_REQUIRED } from "../policy/policy-refusals.ts";
import { redirect } from "../request/admit.ts";
import { noMachine } from "../request/no-machine.ts";
import { judge, type NotPicked, pick, pickWished } from "../request/pick.ts";
import { NO_HTTP_HANDLER, NO_MACHINE, TOO_MANY_WAITING, UNKNOWN_HOST } from "../request/refusals.ts";
import { startable, starterOf } from "../request/start-machine.ts";
import { Wish } from "../request/wish.ts";
import { type AppRoute, ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import type { MachineEntry } from "../routes/machine-entry.ts";
import type { RouteTable } from "../routes/route-table.ts";
import type { RowSource } from "../rows/row-source.ts";

/** A page for people: an app with more machines than this is shown in part, those that serve first. */
export const MACHINES_EXPLAINED_MAX = 200;

export interface ExplainSources {
  readonly edgeId: string;
  readonly region: string;
  readonly hostId: string | null;
  readonly starts: Starts | null;
  readonly routes: RouteTable;
  readonly limits: Limits;
  readonly holdWaitersMax: number;
  readonly holdWaitMsMax: number;
  readonly rows: () => Pick<RowSource, "origin"> | null;
  /** Ports that clients connect to, and the service port that each stands for. */
  readonly listeners: () => readonly { readonly port: number; readonly servicePort: number }[];
  readonly nowMs: () => number;
  readonly random: () => number;
}

export interface Question {
  readonly url: URL;
  /** Decide as an edge of this region would; null: the edge's own. */
  readonly region: string | null;
  /** Header lines of the request, `NAME: VALUE`. */
  readonly fields: readonly string[];
}

type Stage = Explanation["stages"][number];

export function explain(sources: ExplainSources, { url, region, fields }: Question): Explanation {
  const { routes } = sources;
  const stages: Stage[] = [];
  const explanation: Explanation = {
    schema: 1,
    url: url.href,
    edge: { id: sources.edgeId, region: sources.region },
    region: region ?? sources.region,
    stages,
    refusal: null,
    machines: [],
    rows: [],
  };
  const refused = (stage: Stage["stage"], why: Refusal): Explanation => {
    stages.push({ stage, decision: "refused", text: `${why.message} (${why.code})` });
    explanation.refusal = { status: why.status, code: why.code, message: why.message, hint: why.hint };
    return explanation;
  };
  const row = (table: TableName, key: string) => {
    const origin = sources.rows()?.origin?.(table, key) ?? null;
    explanation.rows.push({
      table,
      key,
      owner: origin?.owner ?? null,
      version: origin?.version ?? null,
      published_ms: origin?.published_ms ?? null,
    });
  };

  const head = readHead(url, fields, sources.limits);
  if (!(head instanceof RequestHead)) return refused("accept", head);
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const servicePort = servicePortOf(sources, port);
  stages.push({
    stage: "accept",
    decision: "passed",
    text: servicePort === null
      ? `no listener of this edge stands for port ${port}; taken as if one did`
      : `${head.method} ${head.target} for ${head.host}, by the listener for port ${servicePort}`,
  });

  const app = routes.find(head.host);
  if (app === null) return refused("find", UNKNOWN_HOST);
  const hostname = routes.hostnameKey(head.host)!;
  row("hostnames", hostname);
  if (app.name !== null) row("apps", app.id);
  const real = app.services.get(servicePort ?? port);
  if (real === undefined) {
    describeMachines(explanation, sources, app, null, null);
    return refused("find", NO_MACHINE);
  }
  if (real.policy?.tunnel === true) return refused("find", NO_HTTP_HANDLER);
  stages.push({
    stage: "find",
    decision: "passed",
    text: `${hostname} leads to app ${app.name ?? app.id}, port ${real.port} to ${
      count(real.size, "machine")
    }`,
  });

  if (real.policy !== null) {
    const location = redirect(real.policy, head, url.protocol === "https:");
    if (location !== null) return refused("admit", HTTPS_REQUIRED);
    stages.push({ stage: "admit", decision: "passed", text: conditions(real.policy) });
  }

  const service = region === null ? real : seenFrom(real, region);
  const wish = head.steering === null ? null : new Wish(head.steering);
  const nowMs = sources.nowMs();
  const picked = wish === null
    ? pick(service, routes.distances, nowMs, sources.random)
    : pickWished(service, wish, routes.distances, nowMs);
  describeMachines(explanation, sources, app, service, typeof picked === "string" ? null : picked);
  for (const machine of explanation.machines) row("machines", `${machine.host_id}/${machine.id}`);
  if (typeof picked !== "string") {
    stages.push({ stage: "pick", decision: "passed", text: whyPicked(picked, service, wish) });
    const kept = picked.idleConnections;
    stages.push({
      stage: "send",
      decision: "sent",
      text: `to ${picked.address}:${picked.port}, ${
        kept > 0 ? "on a kept connection" : "on a new connection"
      }`,
    });
    return explanation;
  }
  if (picked === "stopped") {
    const asked = { service, wish, app };
    const machine = startable({ routes, region: explanation.region }, asked).find((each) =>
      starterOf(sources, each) !== null && sources.starts?.state(each.id)?.kind !== "failed"
    );
    if (machine === undefined) return refused("pick", noMachine({ wish }, "none"));
    const by = starterOf(sources, machine) === "worker"
      ? "the worker beside this edge"
      : "the edge of its host";
    stages.push({
      stage: "pick",
      decision: "starts",
      text: `${machine.id}, which is ${machine.state}, by ${by}`,
    });
    return explanation;
  }
  if (picked !== "starting" && picked !== "full") return refused("pick", noMachine({ wish }, picked));
  stages.push({ stage: "pick", decision: "waits", text: WAITS[picked] });
  const waiting = real.waiting?.size ?? 0;
  if (waiting >= sources.holdWaitersMax) return refused("hold", TOO_MANY_WAITING);
  stages.push({
    stage: "hold",
    decision: "waits",
    text: `at most ${sources.holdWaitMsMax / 1_000} s, behind ${count(waiting, "request")}`,
  });
  return explanation;
}

const WAITS: Record<NotPicked & ("starting" | "full"), string> = {
  starting: "no machine can take it yet, and one is starting",
  full: "every machine that could take it is at its hard limit",
};

/** What this request alone cannot tell: who asks, and how often. */
function conditions({ access, rateLimit }: Policy): string {
  const asked = [
    ...(access === null ? [] : ["it has a token that the service's issuer signed"]),
    ...(rateLimit === null ? [] : ["its client keeps within the service's rate"]),
  ];
  return asked.length === 0 ? "the service's policies let it pass" : `if ${asked.join(" and ")}`;
}

/** By the parser itself, so that it refuses what the parser refuses. */
function readHead(url: URL, fields: readonly string[], limits: Limits): RequestHead | Refusal {
  const lines = [`GET ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`, ...fields, "", ""];
  const scanner = new HeadScanner(limits);
  const end = scanner.feed(Buffer.from(lines.join("\r\n"), "latin1"), 0);
  if (end === NEED_MORE) return BAD_REQUEST_LINE;
  return scanner.refusal ?? parseRequestHead(scanner.text, limits);
}

function servicePortOf(sources: ExplainSources, port: number): number | null {
  const listeners = sources.listeners();
  const bound = listeners.find((listener) => listener.port === port);
  return bound?.servicePort ?? listeners.find(({ servicePort }) => servicePort === port)?.servicePort ?? null;
}

/** The service as an edge of another region sees it; distances stay this edge's. */
function seenFrom(service: ServiceRoute, region: string): ServiceRoute {
  const view = new ServiceRoute(service.port, service.app);
  const { starting, startable, unhealthy } = service;
  Object.assign(view, { starting, startable, unhealthy });
  for (const backend of service.backends()) {
    if (backend.region === region) view.near.push(backend);
    else {
      const pool = view.far.find((each) => each.region === backend.region);
      if (pool === undefined) view.far.push({ region: backend.region, backends: [backend] });
      else pool.backends.push(backend);
    }
  }
  return view;
}

function whyPicked(picked: Backend, service: ServiceRoute, wish: Wish | null): string {
  const missed = wish?.missedBy(picked) ?? null;
  if (missed !== null) {
    return `${picked.machineId}, because ${missed}, which it would rather have, cannot take it`;
  }
  if (wish !== null) return `${picked.machineId}, as the request's own fields ask`;
  const near = service.near.includes(picked);
  const peers = near ? service.near : service.far.find(({ region }) => region === picked.region)!.backends;
  const where = near ? "in this region" : "in the nearest region that has room";
  return peers.length === 1
    ? `${picked.machineId}, the only machine ${where}`
    : `${picked.machineId}, the less loaded of two drawn at random ${where}; another time it may be another`;
}

function describeMachines(
  explanation: Explanation,
  sources: ExplainSources,
  app: AppRoute,
  service: ServiceRoute | null,
  picked: Backend | null,
): void {
  const { distances } = sources.routes;
  const nowMs = sources.nowMs();
  explanation.machines = app.machines.map((machine): Explanation["machines"][number] => {
    const wanted = service === null ? null : machine.serviceAt(service.port);
    const backend = wanted === null ? null : machine.backend(wanted.internal_port);
    const verdict = verdictOn(machine, backend, wanted, service, picked, nowMs);
    const distance = distances.of(machine.region);
    return {
      id: machine.id,
      host_id: machine.hostId,
      region: machine.region,
      state: machine.state,
      address: machine.address,
      verdict,
      text: textOf(verdict, backend, nowMs),
      in_flight: backend?.inFlight ?? null,
      soft_limit: backend?.softLimit ?? null,
      hard_limit: backend === null || backend.hardLimit === Infinity ? null : backend.hardLimit,
      distance_ms: distance === Infinity || machine.region === explanation.region ? null : distance,
    };
  });
  explanation.machines.sort((one, two) => order(one) - order(two) || (one.id < two.id ? -1 : 1));
  explanation.machines.splice(MACHINES_EXPLAINED_MAX);
}

const order = ({ verdict }: { verdict: MachineVerdict }) => Object.keys(TEXTS).indexOf(verdict);

function verdictOn(
  machine: MachineEntry,
  backend: Backend | null,
  wanted: { readonly auto_start_machines?: boolean | undefined } | null,
  service: ServiceRoute | null,
  picked: Backend | null,
  nowMs: number,
): MachineVerdict {
  if (wanted === null) return "other_port";
  if (machine.cordoned) return "cordoned";
  if (machine.leaving) return "leaving";
  if (machine.state === "starting") return "starting";
  if (machine.startable) return wanted.auto_start_machines === false ? "not_started" : "startable";
  if (backend === null) return "not_started";
  if (!machine.healthy) return "unhealthy";
  if (backend === picked) return "picked";
  const fitness = judge(backend, nowMs);
  if (picked === null || (fitness !== "below_soft_limit" && fitness !== "above_soft_limit")) {
    return fitness === "below_soft_limit" ? "not_wanted" : fitness;
  }
  if (backend.region !== picked.region) return service!.near.includes(backend) ? "not_wanted" : "farther";
  return fitness === "below_soft_limit" ? "candidate" : fitness;
}

/** In the order in which they are shown. */
const TEXTS: Record<MachineVerdict, string> = {
  picked: "gets it",
  candidate: "could get it: below its soft limit",
  above_soft_limit: "above its soft limit: gets it when all others are too",
  at_hard_limit: "at its hard limit",
  farther: "a nearer region has room",
  not_wanted: "the request asks for another machine or region",
  ejected: "passed over: it failed requests",
  warming: "its app does not listen yet",
  unhealthy: "its checks fail",
  starting: "it is starting",
  startable: "it is at rest and could be started",
  not_started: "it is not started",
  cordoned: "it is cordoned",
  leaving: "it is about to be stopped",
  other_port: "it serves nothing on this port",
};

function textOf(verdict: MachineVerdict, backend: Backend | null, nowMs: number): string {
  if (verdict !== "ejected" || backend === null) return TEXTS[verdict];
  if (backend.hostDead) return "passed over: its host is dead";
  const leftMs = Math.ceil(backend.ejectedUntilMs - nowMs);
  return `passed over for ${leftMs} ms more (${backend.breaker?.reason ?? "it failed requests"})`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

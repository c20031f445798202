/**
 * fly-replay (reference, section 1.5): a machine's response says that another machine should answer, and the request is
 * sent there as if it had been picked in the first place. What is decided here: whether that may be, where it goes, and
 * what happens when nobody can be reached. Sending, waiting and retrying are the ordinary stages' business.
 *
 * An exchange may be replayed `REPLAYS_MAX` times, which ends loops; a delivery back to the app that had asked for the
 * replay (a fallback) is the last one, whatever that app says to it.
 */
import { steering } from "../balance/steering.ts";
import type { Edge } from "../edge.ts";
import type { Timed } from "../relay/deadlines.ts";
import { withoutFields } from "../relay/field-cursor.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { ResponseHead } from "../relay/response-head.ts";
import { admit } from "../request/admit.ts";
import type { Exchange } from "../request/exchange.ts";
import { release } from "../request/send.ts";
import { Wish } from "../request/wish.ts";
import type { AppRoute, ServiceRoute } from "../routes/app-route.ts";
import { type Instruction, parseReplayField } from "./instruction.ts";
import { InstructionSink } from "./instruction-sink.ts";
import {
  REPLAY_APP_UNKNOWN,
  REPLAY_BODY_TOO_LARGE,
  REPLAY_INVALID,
  REPLAY_TARGET_UNAVAILABLE,
  REPLAYED_TOO_OFTEN,
} from "./replay-refusals.ts";

/** Of one request, the reference's number. */
export const REPLAYS_MAX = 10;
const REPLAY_FIELD = new Set(["fly-replay"]);

export type ReplayFailure = "timeout" | "retries_exhausted" | "no_candidate";

/** Who asked for the replay that goes on now. */
interface Source {
  readonly app: AppRoute;
  readonly service: ServiceRoute;
  readonly machineId: string;
}

export class Replay implements Timed {
  deadlineMs = Infinity;
  count = 0;
  /** Lines for the machine that gets the request now, each with CR LF. */
  fields = "";
  /** The target was connected to: whatever it does then is the answer. */
  reached = false;
  /** The delivery that goes on now is a fallback. */
  fellBack = false;
  instruction: Instruction | null = null;
  source: Source | null = null;
  /** Monotonic. */
  sinceMs = 0;
  readonly #exchange: Exchange;
  readonly #expired: () => void;

  /** @param expired the target was not reached in time */
  constructor(exchange: Exchange, expired: () => void) {
    this.#exchange = exchange;
    this.#expired = expired;
  }

  onDeadline(): void {
    const { finished, upstream, waiter } = this.#exchange;
    if (finished || this.fellBack || upstream?.begun === true) return;
    // A token is being checked: the next sweep looks again.
    if (waiter === null && upstream === null) return void (this.deadlineMs = 0);
    waiter?.cancel();
    this.#exchange.upstream = null;
    upstream?.abandon();
    this.#expired();
  }
  onFault(error: unknown): void {
    this.#exchange.client.onFault(error);
  }
}

/**
 * A response that asks for a replay, in its head or in its body.
 * @returns what `received` returns; "no" where it is the client's after all
 */
export function replayAsked(
  edge: Edge,
  exchange: Exchange,
  head: ResponseHead,
  next: { replay: (instruction: Instruction | string) => void; cut: () => void },
): (() => void) | null | "no" {
  if (exchange.replay?.fellBack === true) {
    edge.replays.disregarded++;
    head.fields = withoutFields(head.fields, REPLAY_FIELD);
    return "no";
  }
  if (!head.replayInBody) {
    const instruction = parseReplayField(head.replay!);
    return () => next.replay(instruction);
  }
  new InstructionSink(exchange, next.replay, next.cut);
  return null;
}

/**
 * The machine has asked for a replay and its half has let go.
 * @returns the refusal to answer with, a promise of one or of null, or null where the request is to be picked a machine
 */
export function replayTo(
  edge: Edge,
  exchange: Exchange,
  instruction: Instruction | string,
  expired: () => void,
): Refusal | Promise<Refusal | null> | null {
  const nowMs = edge.nowMs();
  exchange.trace?.left(nowMs);
  const source: Source = {
    app: exchange.app!,
    service: exchange.service!,
    machineId: exchange.servedBy!.machineId,
  };
  const { region } = exchange.servedBy!;
  release(edge, exchange);
  if (typeof instruction === "string") {
    exchange.answerFields = `Godwit-Replay-Error: ${printable(instruction)}\r\n`;
    return REPLAY_INVALID;
  }
  const replay = exchange.replay ??= new Replay(exchange, expired);
  if (++replay.count > REPLAYS_MAX) return REPLAYED_TOO_OFTEN;
  if (!exchange.repeatable) return REPLAY_BODY_TOO_LARGE;
  const app = targetApp(edge, source.app, instruction.app);
  const service = app?.services.get(source.service.port);
  if (app === null || service === undefined || service.policy?.tunnel === true) return REPLAY_APP_UNKNOWN;

  edge.replays.replayed++;
  edge.replays.ignored += instruction.ignored.length;
  replay.instruction = instruction;
  replay.source = source;
  replay.sinceMs = nowMs;
  replay.reached = false;
  replay.fields = `Fly-Replay-Src: instance=${source.machineId};region=${region};t=${
    edge.wallMs() * 1_000
  };state=${instruction.state ?? ""}\r\n`;
  deliver(exchange, app, service, wishOf(instruction, source.machineId));
  // Added at the first one; another replaces its time.
  edge.deadlines.add(replay);
  replay.deadlineMs = instruction.timeoutMs === null ? Infinity : nowMs + instruction.timeoutMs;
  if (app === source.app) return null;
  exchange.limits = edge.limits;
  return admit(edge, exchange);
}

/**
 * Nobody could be reached.
 * @returns null where the app that asked for the replay answers now: pick it a machine; else what the client is told
 */
export function fallBack(
  edge: Edge,
  exchange: Exchange,
  why: Refusal,
  reason: ReplayFailure,
): Refusal | null {
  const replay = exchange.replay!;
  const { instruction, source } = replay;
  exchange.trace?.left(edge.nowMs());
  release(edge, exchange);
  if (instruction === null || source === null || replay.reached || replay.fellBack) return why;
  replay.deadlineMs = Infinity;
  if (instruction.fallback === null) return reason === "no_candidate" ? REPLAY_TARGET_UNAVAILABLE : why;
  edge.replays.fellBack++;
  replay.fellBack = true;
  const regions = instruction.regions ?? [];
  const elapsedMs = Math.round(edge.nowMs() - replay.sinceMs);
  replay.fields = `Fly-Replay-Failed: instance=${
    instruction.instance ?? instruction.preferInstance ?? ""
  };app=${exchange.app!.name ?? exchange.app!.id};region=${
    regions.length > 1 ? `"${regions.join(",")}"` : regions.join("")
  };replay_source=${source.machineId};reason=${reason};elapsed_ms=${elapsedMs}\r\n`;
  const self = instruction.fallback === "force_self"
    ? { forceInstance: source.machineId }
    : { preferInstance: source.machineId };
  deliver(exchange, source.app, source.service, new Wish(steering(self)));
  return null;
}

/** The exchange has ended. */
export function replayEnded(edge: Edge, exchange: Exchange): void {
  exchange.kept?.drop();
  if (exchange.replay !== null) edge.deadlines.remove(exchange.replay);
}

function deliver(exchange: Exchange, app: AppRoute, service: ServiceRoute, wish: Wish | null): void {
  exchange.app = app;
  exchange.service = service;
  exchange.wish = wish;
  exchange.upstreamHead = "";
  exchange.attempts = 0;
  exchange.sendBacks = 0;
  exchange.freshOnly = false;
}

/** Only the app's own organisation; an app of another one is as good as none. */
function targetApp(edge: Edge, from: AppRoute, name: string | null): AppRoute | null {
  if (name === null || name === from.name) return from;
  const app = edge.routes.appNamed(name);
  return app !== null && app.orgId !== null && app.orgId === from.orgId ? app : null;
}

function wishOf(instruction: Instruction, sourceId: string): Wish | null {
  const { regions, instance, preferInstance, elsewhere } = instruction;
  if (regions === null && instance === null && preferInstance === null && !elsewhere) return null;
  return new Wish(steering({
    forceRegions: regions,
    forceInstance: instance,
    preferInstance,
    avoidInstance: elsewhere ? sourceId : null,
  }));
}

/** It quotes what the app wrote. */
function printable(text: string): string {
  return Array.from(text.slice(0, 200), (c) => c >= " " && c <= "~" ? c : "?").join("");
}

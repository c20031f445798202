/**
 * Starting a machine on demand, as far as one machine is concerned: asked once for however many wait, not asked again
 * for a while after a failure. Pure. The row that says `started` ends it; what is kept here is thrown away then.
 */
export interface StartState {
  /** `resting`: its worker has stopped it a moment ago, and starts it again only for who has no other machine. */
  readonly kind: "asked" | "failed" | "resting";
  /** Monotonic: of an asked one, when its silence counts as a failure; of the others, when it may be asked again. */
  readonly untilMs: number;
  /** In a row. */
  readonly failures: number;
  /** Why it failed last: the worker's code. */
  readonly code: string | null;
}

/** An accepted start whose row has said nothing new for this long may be asked for again. */
export const START_SILENCE_MS_MAX = 30_000;
export const START_BACKOFF_MS_MIN = 1_000;
export const START_BACKOFF_MS_MAX = 60_000;
/** Before a machine that had just been stopped is asked for again where others serve. */
export const RESTING_MS = 30_000;

/** @param spare others serve: the start is a convenience */
export function mayAsk(state: StartState | null, nowMs: number, spare = false): boolean {
  return state === null || state.untilMs <= nowMs || (state.kind === "resting" && !spare);
}

export function startSpared(before: StartState | null, nowMs: number): StartState {
  return { kind: "resting", untilMs: nowMs + RESTING_MS, failures: before?.failures ?? 0, code: null };
}

export function startAsked(before: StartState | null, nowMs: number): StartState {
  const failures = before?.failures ?? 0;
  return { kind: "asked", untilMs: nowMs + START_SILENCE_MS_MAX, failures, code: null };
}

/** @param random in [0, 1) */
export function startFailed(
  before: StartState | null,
  code: string,
  nowMs: number,
  random: number,
): StartState {
  const failures = (before?.failures ?? 0) + 1;
  const whole = Math.min(START_BACKOFF_MS_MAX, START_BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 16));
  return { kind: "failed", untilMs: nowMs + whole / 2 + random * whole / 2, failures, code };
}

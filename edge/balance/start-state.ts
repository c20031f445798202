/**
 * Starting a machine on demand, as far as one machine is concerned: asked once for however many wait, not asked again
 * for a while after a failure. Pure. The row that says `started` ends it; what is kept here is thrown away then.
 */
export interface StartState {
  readonly kind: "asked" | "failed";
  /** Monotonic: of an asked one, when its silence counts as a failure; of a failed one, when it may be asked again. */
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

export function mayAsk(state: StartState | null, nowMs: number): boolean {
  return state === null || state.untilMs <= nowMs;
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

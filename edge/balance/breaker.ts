/**
 * Passive ejection of a machine that cannot be reached: closed → open (passed over, for a time that doubles with each
 * opening) → half open (one request tries it) → closed. What the app answers is never held against it: a 500 is an answer.
 *
 * A refused or unanswered connection opens at once, because the next one would fare the same. A reset before the response
 * may be the request's own fault (it crashes the app), so only several in a row open.
 *
 * Pure; half of each wait is drawn at random, so that many edges do not come back to a machine in step.
 */
export type BreakerState = "closed" | "open" | "half_open";

export interface Breaker {
  readonly state: BreakerState;
  /** What it opened for, or what was seen last; null where nothing was. */
  readonly reason: "unreachable" | "reset" | null;
  /** In a row, since the last success. */
  readonly failures: number;
  /** In a row; the wait doubles with each. */
  readonly openings: number;
  /** Monotonic: open until then, or half open until then without news of the probe. */
  readonly untilMs: number;
}

export type BreakerEvent =
  /** No connection: refused, or not answered. */
  | "unreachable"
  /** A new connection ended before its response began. */
  | "reset"
  /** A response began, or the connection that was refused before stands. */
  | "answered"
  /** A request was sent to an open machine whose time is over. */
  | "probed"
  /** The probe ended without saying anything about the machine: its client left. */
  | "probe_lost";

export const EJECTION_MS_MIN = 500;
export const EJECTION_MS_MAX = 10_000;
export const RESETS_TO_OPEN = 3;
/** A probe that has said nothing for this long (a slow response) lets another one try. */
export const PROBE_WAIT_MS_MAX = 10_000;
const OPENINGS_COUNTED_MAX = 16;

export const CLOSED: Breaker = { state: "closed", reason: null, failures: 0, openings: 0, untilMs: 0 };

/**
 * @param mayOpen false where half of the service's machines are ejected already: a fault of the network near this edge
 *   looks like a fault of all of them, and to pass over all would serve nobody
 * @param random in [0, 1)
 */
export function breakerAfter(
  before: Breaker,
  event: BreakerEvent,
  nowMs: number,
  random: number,
  mayOpen: boolean,
): Breaker {
  switch (event) {
    case "answered":
      // What was under way when it opened says nothing of new connections.
      return before.state === "open" ? before : CLOSED;
    case "probed":
      return before.state === "closed"
        ? before
        : { ...before, state: "half_open", untilMs: nowMs + PROBE_WAIT_MS_MAX };
    case "probe_lost":
      return before.state === "half_open" ? { ...before, state: "open", untilMs: nowMs } : before;
    case "unreachable":
    case "reset": {
      if (before.state === "open") return before;
      const failures = before.failures + 1;
      const opens = before.state === "half_open" || event === "unreachable" || failures >= RESETS_TO_OPEN;
      if (!opens || !mayOpen) {
        return { state: "closed", reason: event, failures, openings: before.openings, untilMs: 0 };
      }
      const openings = Math.min(OPENINGS_COUNTED_MAX, before.openings + 1);
      return {
        state: "open",
        reason: event,
        failures,
        openings,
        untilMs: nowMs + ejectionMs(openings, random),
      };
    }
  }
}

function ejectionMs(openings: number, random: number): number {
  const whole = Math.min(EJECTION_MS_MAX, EJECTION_MS_MIN * 2 ** (openings - 1));
  return whole / 2 + random * whole / 2;
}

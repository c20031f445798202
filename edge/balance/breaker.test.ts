import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Breaker,
  breakerAfter,
  type BreakerEvent,
  CLOSED,
  EJECTION_MS_MAX,
  EJECTION_MS_MIN,
  PROBE_WAIT_MS_MAX,
  RESETS_TO_OPEN,
} from "./breaker.ts";

const after = (before: Breaker, event: BreakerEvent, nowMs = 0, mayOpen = true) =>
  breakerAfter(before, event, nowMs, 0.5, mayOpen);

describe("breakerAfter()", () => {
  test("a refused connection opens at once, resets only when several come in a row", () => {
    expect(after(CLOSED, "unreachable").state).toBe("open");
    let breaker = CLOSED;
    for (let i = 1; i < RESETS_TO_OPEN; i++) breaker = after(breaker, "reset");
    expect(breaker.state).toBe("closed");
    expect(after(after(breaker, "answered"), "reset").state).toBe("closed");
    expect(after(breaker, "reset").state).toBe("open");
  });

  test("one probe closes it or opens it for longer, up to the maximum", () => {
    let breaker = after(CLOSED, "unreachable");
    const waits = [breaker.untilMs];
    for (let i = 0; i < 20; i++) {
      breaker = after(breaker, "probed", 0);
      expect(breaker).toMatchObject({ state: "half_open", untilMs: PROBE_WAIT_MS_MAX });
      breaker = after(breaker, "unreachable", 0);
      waits.push(breaker.untilMs);
    }
    expect(waits.slice(0, 3)).toEqual([1, 2, 4].map((n) => n * EJECTION_MS_MIN * 0.75));
    expect(waits.at(-1)).toBe(EJECTION_MS_MAX * 0.75);
    expect(after(after(breaker, "probed"), "answered")).toBe(CLOSED);
  });

  test("an answer to an earlier request does not close an open one", () => {
    const open = after(CLOSED, "unreachable");
    expect(after(open, "answered")).toBe(open);
  });

  test("a lost probe lets the next request try at once", () => {
    const half = after(after(CLOSED, "unreachable"), "probed", 7);
    expect(after(half, "probe_lost", 9)).toMatchObject({ state: "open", untilMs: 9, openings: 1 });
  });

  test("stays closed where half of the machines are ejected already", () => {
    expect(after(CLOSED, "unreachable", 0, false).state).toBe("closed");
  });

  test("whatever happens, it is never open longer than the maximum, and an answered probe closes it", () => {
    const events = fc.constantFrom<BreakerEvent>("unreachable", "reset", "answered", "probed", "probe_lost");
    fc.assert(
      fc.property(
        fc.array(fc.record({ event: events, waitMs: fc.nat(20_000), mayOpen: fc.boolean() })),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (steps, random) => {
          let breaker = CLOSED, nowMs = 0;
          for (const { event, waitMs, mayOpen } of steps) {
            nowMs += waitMs;
            breaker = breakerAfter(breaker, event, nowMs, random, mayOpen);
            expect(breaker.untilMs).toBeLessThanOrEqual(nowMs + Math.max(EJECTION_MS_MAX, PROBE_WAIT_MS_MAX));
          }
          const probed = breakerAfter(breaker, "probed", nowMs, random, true);
          expect(breakerAfter(probed, "answered", nowMs, random, true)).toBe(CLOSED);
        },
      ),
    );
  });
});

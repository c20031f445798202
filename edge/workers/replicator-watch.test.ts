import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Beat,
  begun,
  heard,
  later,
  verdict,
  WATCH_LIMITS,
  type Watched,
  workedMs,
} from "./replicator-watch.ts";

const beat = (answered: number, taken: number, more: Partial<Beat> = {}): Beat => ({
  ...{ progress: { answered, taken }, connected: true, newsHeld: false, ...more },
});
/** A heartbeat a second for so many, each as `at` says. */
function beats(from: Watched, startMs: number, seconds: number, at: (second: number) => Beat, owed = false) {
  let watched = from;
  for (let second = 1; second <= seconds; second++) {
    watched = heard(watched, at(second), owed, startMs + second * 1_000);
  }
  return watched;
}

test("verdict() lets a replicator go on that takes what it gets, for a day", () => {
  let watched = begun(0);
  for (let second = 1; second <= 86_400; second++) {
    watched = heard(watched, beat(second, second - 1), false, second * 1_000);
    expect(verdict(watched, WATCH_LIMITS, second * 1_000 + 999)).toBe(null);
  }
});

test("verdict() gives it longer until its first heartbeat than between two", () => {
  expect(verdict(begun(0), WATCH_LIMITS, WATCH_LIMITS.firstBeatMsMax)).toBe(null);
  expect(verdict(begun(0), WATCH_LIMITS, WATCH_LIMITS.firstBeatMsMax + 1)).toBe("silent");
  const watched = heard(begun(0), beat(1, 1), false, 1_000);
  expect(verdict(watched, WATCH_LIMITS, 1_000 + WATCH_LIMITS.beatMsMax)).toBe(null);
  expect(verdict(watched, WATCH_LIMITS, 1_001 + WATCH_LIMITS.beatMsMax)).toBe("silent");
});

test("verdict() finds one whose heart beats while no answer is taken in", () => {
  const stalled = beats(begun(0), 0, 40, (second) => beat(5 + second, 5, { connected: false }));
  expect(verdict(stalled, WATCH_LIMITS, 40_000)).toBe("stalled");
  const working = heard(stalled, beat(50, 6), false, 40_000);
  expect(verdict(working, WATCH_LIMITS, 40_500)).toBe(null);
});

test("verdict() finds one that says that it is connected and gets no answer", () => {
  const watched = beats(begun(0), 0, 70, () => beat(5, 5));
  expect(verdict(watched, WATCH_LIMITS, 70_000)).toBe("stalled");
});

test("verdict() does not hold a Redis that is away against a replicator, however long", () => {
  const watched = beats(begun(0), 0, 5_000, (second) => {
    const done = Math.min(second, 100);
    return beat(done, done, { connected: second <= 100 });
  });
  expect(verdict(watched, WATCH_LIMITS, 5_000_000)).toBe(null);
  // Nor from the start.
  expect(verdict(beats(begun(0), 0, 5_000, () => beat(0, 0, { connected: false })), WATCH_LIMITS, 5_000_000))
    .toBe(null);
});

test("verdict() finds one that waits to be asked for news though it was, and no other", () => {
  const held = (second: number) => beat(second, second, { newsHeld: true });
  expect(verdict(beats(begun(0), 0, 12, held), WATCH_LIMITS, 12_000)).toBe("news_held");
  expect(verdict(beats(begun(0), 0, 12, held, true), WATCH_LIMITS, 12_000)).toBe(null);
});

test("later() forgives what the watcher missed while it was held up itself", () => {
  const watched = heard(begun(0), beat(1, 1, { newsHeld: true }), false, 1_000);
  expect(verdict(watched, WATCH_LIMITS, 3_600_000)).toBe("silent");
  expect(verdict(later(watched, 3_598_000), WATCH_LIMITS, 3_600_000)).toBe(null);
});

test("workedMs() counts until the last answer taken, so that one that only lived was not stable", () => {
  const watched = beats(begun(1_000), 1_000, 90, (second) => beat(second, Math.min(second, 7)));
  expect(workedMs(watched, 1_000)).toBe(7_000);
  expect(workedMs(begun(5), 5)).toBe(0);
});

test("verdict() never ends one that took an answer within the limits, whatever else it says", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ got: fc.nat(3), connected: fc.boolean() }), { minLength: 1, maxLength: 200 }),
      (steps) => {
        let [watched, answered] = [begun(0), 0];
        steps.forEach(({ got, connected }, index) => {
          answered += 1 + got;
          watched = heard(watched, beat(answered, answered, { connected }), false, (index + 1) * 1_000);
          expect(verdict(watched, WATCH_LIMITS, (index + 1) * 1_000 + 999)).toBe(null);
        });
      },
    ),
  );
});

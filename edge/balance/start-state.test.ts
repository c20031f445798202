import { expect, test } from "bun:test";
import {
  mayAsk,
  RESTING_MS,
  START_BACKOFF_MS_MAX,
  START_SILENCE_MS_MAX,
  startAsked,
  startFailed,
  startSpared,
} from "./start-state.ts";

test("a start is asked for once, and again only after a long silence", () => {
  expect(mayAsk(null, 0)).toBe(true);
  const asked = startAsked(null, 5);
  expect(mayAsk(asked, 5 + START_SILENCE_MS_MAX - 1)).toBe(false);
  expect(mayAsk(asked, 5 + START_SILENCE_MS_MAX)).toBe(true);
});

test("failures put the next try off, for longer each time up to the maximum", () => {
  let state = startFailed(null, "x.y", 0, 0);
  const waits = [state.untilMs];
  for (let i = 0; i < 10; i++) {
    state = startFailed(startAsked(state, 0), "x.y", 0, 0);
    waits.push(state.untilMs);
  }
  expect(waits.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
  expect(waits.at(-1)).toBe(START_BACKOFF_MS_MAX / 2);
  expect(startFailed(null, "x.y", 0, 0.999).untilMs).toBeGreaterThan(990);
});

test("a machine that was just stopped is asked for again at once by who has no other, and later where others serve", () => {
  const state = startSpared(startAsked(null, 0), 5);
  expect(mayAsk(state, 5)).toBe(true);
  expect(mayAsk(state, 5 + RESTING_MS - 1, true)).toBe(false);
  expect(mayAsk(state, 5 + RESTING_MS, true)).toBe(true);
  expect(state.failures).toBe(0);
});

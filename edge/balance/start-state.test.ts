import { expect, test } from "bun:test";
import {
  mayAsk,
  START_BACKOFF_MS_MAX,
  START_SILENCE_MS_MAX,
  startAsked,
  startFailed,
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

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { backoffMs, pause, within } from "./backoff.ts";

const backoff = { firstMs: 20, capMs: 2_000 };

describe("backoffMs()", () => {
  test("doubles up to its cap", () => {
    expect([1, 2, 3, 8, 1_000].map((tries) => backoffMs(backoff, tries, () => 1))).toEqual([
      20,
      40,
      80,
      2_000,
      2_000,
    ]);
  });
  test("lies between half of that and all of it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (tries, draw) => {
          const [least, most] = [backoffMs(backoff, tries, () => 0), backoffMs(backoff, tries, () => 1)];
          const wait = backoffMs(backoff, tries, () => draw);
          expect(least).toBe(most / 2);
          expect(wait >= least && wait <= most).toBe(true);
        },
      ),
    );
  });
});

test("pause() ends when its signal is aborted, before or during", async () => {
  const end = new AbortController();
  const pausing = pause(60_000, end.signal);
  end.abort();
  await pausing;
  await pause(60_000, end.signal);
});

test("within() gives the value, or null where the signal ends the wait", async () => {
  expect(await within(Promise.resolve(7), 60_000)).toBe(7);
  expect(await within(new Promise(() => {}), 0)).toBeNull();
  expect(await within(new Promise(() => {}), 60_000, AbortSignal.abort())).toBeNull();
});

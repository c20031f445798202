import { describe, expect, test } from "bun:test";
import { OWNERS_HEARD_MAX, OwnerVoices, SOONEST_WINDOW_MS } from "./owner-voices.ts";

/** Our monotonic clock began at 0 when the wall clock was at this. */
const WALL_MS = 1_000_000_000;
const DIGEST_MS = 15_000;

function heard() {
  let nowMs = 0;
  const voices = new OwnerVoices({ nowMs: () => nowMs, wallMs: () => WALL_MS + nowMs });
  return {
    voices,
    at: (ms: number) => void (nowMs = ms),
    /** @param ms of our monotonic clock, as the owner's shows it */
    say: (ms: number, owner = "api") => voices.hear(new Map([[owner, WALL_MS + ms]])),
  };
}

describe("OwnerVoices", () => {
  test("grows while nobody is heard, and one voice is enough", () => {
    const { voices, at, say } = heard();
    expect(voices.silentMs).toBeNull();
    say(0);
    say(0, "worker:h1");
    at(70_000);
    expect(voices.silentMs).toBe(70_000);
    say(70_000, "worker:h1");
    expect(voices.silentMs).toBe(0);
  });

  test("takes a word that comes again for no news", () => {
    const { voices, at, say } = heard();
    say(0);
    at(70_000);
    say(0);
    say(-5_000);
    expect(voices.silentMs).toBe(70_000);
  });

  test("knows of old news that they are old, whatever the owner's clock shows", () => {
    for (const aheadMs of [0, 3_600_000, -3_600_000]) {
      const { voices, at, say } = heard();
      // An owner whose clock is behind is believed once two windows have shown no better.
      const settledMs = 3 * SOONEST_WINDOW_MS;
      for (let ms = 0; ms <= settledMs; ms += DIGEST_MS) {
        at(ms);
        say(ms + aheadMs);
      }
      expect(voices.silentMs).toBe(0);
      // A relay that was held up for half an hour hands over what it missed, the oldest first.
      const backMs = settledMs + 1_800_000;
      at(backMs);
      say(settledMs + DIGEST_MS + aheadMs);
      expect(voices.silentMs).toBe(1_800_000 - DIGEST_MS);
      say(backMs + aheadMs);
      expect(voices.silentMs).toBe(0);
    }
  });

  test("hears an owner whose clock was set back, before it is called stale", () => {
    const { voices, at, say } = heard();
    const backMs = 86_400_000;
    const silences: number[] = [];
    for (let ms = 0; ms <= 300_000; ms += DIGEST_MS) {
      at(ms);
      say(ms < 150_000 ? ms : ms - backMs);
      silences.push(voices.silentMs!);
    }
    expect(Math.max(...silences)).toBeLessThan(45_000);
    expect(silences.at(-1)).toBe(0);
    // From then on its clock is what it is.
    at(400_000);
    say(350_000 - backMs);
    expect(voices.silentMs).toBe(50_000);
  });

  test("takes a stream that is read again for no clock that was set back", () => {
    const { voices, at, say } = heard();
    const pastMs = 3_600_000;
    for (let ms = -pastMs; ms <= 0; ms += DIGEST_MS) say(ms);
    for (let again = 1; again < 4; again++) {
      at(again * 60_000);
      for (let ms = -pastMs; ms <= 0; ms += DIGEST_MS) say(ms);
      expect(voices.silentMs).toBe(again * 60_000);
    }
  });

  test("says by the clocks how old the first news is", () => {
    const { voices, say } = heard();
    say(-90_000);
    expect(voices.silentMs).toBe(90_000);
  });

  test("forgets whoever was not heard for longest", () => {
    const { voices, at, say } = heard();
    const aheadMs = 3_600_000;
    const others = (many: number) => {
      for (let n = 0; n < many; n++) say(-50_000, `worker:${n}`);
    };
    say(aheadMs);
    at(60_000);
    others(OWNERS_HEARD_MAX - 1);
    say(aheadMs);
    expect(voices.silentMs).toBe(60_000);
    others(OWNERS_HEARD_MAX);
    // Only who has forgotten it takes it for news.
    say(aheadMs);
    expect(voices.silentMs).toBe(0);
  });
});

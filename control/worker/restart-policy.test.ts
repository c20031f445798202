import { describe, expect, test } from "bun:test";
import { judgeEnd, RESTART_BACKOFF, RESTART_WINDOW_MS } from "./restart-policy.ts";

const NOW = 1_000_000_000;
const failure = { exit_code: 3, signal: null };
const well = { exit_code: 0, signal: null };
const policy = (policy: "no" | "always" | "on-failure", max_retries = 10) => ({ policy, max_retries });
const random = () => 0.5;

describe("judgeEnd()", () => {
  test("leaves a machine at rest whose policy is no, or whose process ended well on on-failure", () => {
    expect(judgeEnd(policy("no"), failure, [], NOW, random)).toEqual({ kind: "rest", why: null });
    expect(judgeEnd(policy("on-failure"), well, [], NOW, random)).toEqual({ kind: "rest", why: null });
    expect(judgeEnd(policy("always"), well, [], NOW, random).kind).toBe("restart");
  });

  test.each([
    ["a status", failure],
    ["a signal", { exit_code: 143, signal: "SIGTERM" }],
    ["a VM that died without a word", { exit_code: null, signal: null }],
  ])("restarts after %s on on-failure", (_, end) => {
    expect(judgeEnd(policy("on-failure"), end, [], NOW, random).kind).toBe("restart");
  });

  test("gives up after max_retries within the window, and says so; always never does", () => {
    const many = Array.from({ length: 10 }, (_, i) => NOW - 1_000 * i);
    expect(judgeEnd(policy("on-failure"), failure, many, NOW, random)).toEqual({
      kind: "rest",
      why: "it was restarted 10 times in 5 minutes",
    });
    expect(judgeEnd(policy("on-failure"), failure, many.slice(1), NOW, random).kind).toBe("restart");
    expect(judgeEnd(policy("always"), failure, many, NOW, random).kind).toBe("restart");
    const later = NOW + RESTART_WINDOW_MS;
    expect(judgeEnd(policy("on-failure"), failure, many, later, random).kind).toBe("restart");
    expect(judgeEnd(policy("on-failure", 0), failure, [], NOW, random)).toMatchObject({ kind: "rest" });
  });

  test("waits longer each time, with jitter and a cap, and gives up within the window on a process that ends at once", () => {
    let now = NOW;
    const restarts: number[] = [];
    const waits: number[] = [];
    for (;;) {
      const verdict = judgeEnd(policy("on-failure"), failure, restarts, now, () => 1);
      if (verdict.kind === "rest") break;
      waits.push(verdict.afterMs);
      restarts.push(now);
      now += verdict.afterMs;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
    expect(judgeEnd(policy("always"), failure, [], NOW, () => 0)).toEqual({
      kind: "restart",
      afterMs: RESTART_BACKOFF.firstMs / 2,
    });
  });
});

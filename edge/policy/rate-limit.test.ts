import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PolicyCounts } from "./policy-counts.ts";
import { RateLimit } from "./rate-limit.ts";

describe("RateLimit", () => {
  test("lets a burst pass, then the rate", () => {
    const limit = new RateLimit({ requests: 10, perS: 1, burst: 3 }, new PolicyCounts());
    const taken = [1, 2, 3, 4].map(() => limit.take("a", 1_000));
    expect(taken).toEqual([0, 0, 0, 100]);
    expect(limit.take("a", 1_099)).toBeCloseTo(1);
    expect(limit.take("a", 1_100)).toBe(0);
    expect(limit.take("a", 1_100)).toBe(100);
  });

  test("keeps clients apart", () => {
    const limit = new RateLimit({ requests: 1, perS: 60 }, new PolicyCounts());
    expect(limit.take("a", 0)).toBe(0);
    expect(limit.take("a", 0)).toBe(60_000);
    expect(limit.take("b", 0)).toBe(0);
  });

  test("a refused request takes nothing from the bucket", () => {
    const limit = new RateLimit({ requests: 1, perS: 1 }, new PolicyCounts());
    expect(limit.take("a", 0)).toBe(0);
    for (let i = 0; i < 100; i++) limit.take("a", i);
    expect(limit.take("a", 1_000)).toBe(0);
  });

  test("does what a token bucket does, for any sequence of times", () => {
    const seed = Date.now() & 0x7fffffff;
    console.log(`rate-limit.test seed ${seed}`);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 5_000 }), fc.constantFrom("a", "b", "c")), {
          maxLength: 300,
        }),
        (requests, perS, burst, steps) => {
          const limit = new RateLimit({ requests, perS, burst }, new PolicyCounts());
          // In units of which all are whole: a token is perS × 1000, a millisecond brings `requests`.
          const buckets = new Map<string, { tokens: number; atMs: number }>();
          const token = perS * 1_000;
          let nowMs = 0;
          for (const [stepMs, client] of steps) {
            nowMs += stepMs;
            const bucket = buckets.get(client) ?? { tokens: burst * token, atMs: nowMs };
            const tokens = Math.min(burst * token, bucket.tokens + (nowMs - bucket.atMs) * requests);
            const passes = tokens >= token;
            buckets.set(client, { tokens: passes ? tokens - token : tokens, atMs: nowMs });
            expect(limit.take(client, nowMs) === 0).toBe(passes);
          }
        },
      ),
      { seed, numRuns: 300 },
    );
  });

  test("holds a bounded number of clients, and forgets none early while there is room", () => {
    const counts = new PolicyCounts();
    const limit = new RateLimit({ requests: 1, perS: 1 }, counts, 100);
    for (let i = 0; i < 150; i++) expect(limit.take(`c${i}`, i)).toBe(0);
    expect(counts.rateLimitsForgotten).toBe(0);
    for (let i = 0; i < 150; i++) expect(limit.take(`c${i}`, 150 + i)).toBeGreaterThan(0);
    for (let i = 0; i < 10_000; i++) limit.take(`d${i}`, 301);
    expect(limit.clients).toBeLessThanOrEqual(200);
    expect(counts.rateLimitsForgotten).toBeGreaterThan(0);
  });

  test("drops buckets that are full again without counting them as forgotten", () => {
    const counts = new PolicyCounts();
    const limit = new RateLimit({ requests: 1, perS: 1 }, counts, 100);
    for (let second = 0; second < 50; second++) {
      for (let i = 0; i < 60; i++) limit.take(`s${second}-${i}`, second * 1_000);
    }
    expect(counts.rateLimitsForgotten).toBe(0);
    expect(limit.clients).toBeLessThanOrEqual(200);
  });
});

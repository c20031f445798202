import { describe, expect, test } from "bun:test";
import { ALLOWANCES, FloodGuard, type FloodKind } from "./flood-guard.ts";

describe("FloodGuard", () => {
  for (const kind of Object.keys(ALLOWANCES) as FloodKind[]) {
    const { burst, perSecond } = ALLOWANCES[kind];
    test(`lets ${burst} ${kind} pass at once, then ${perSecond} a second`, () => {
      const guard = new FloodGuard(0);
      const taken = (nowMs: number) => {
        let count = 0;
        while (count < burst * 2 && guard.take(kind, nowMs)) count++;
        return count;
      };
      expect(taken(0)).toBe(burst);
      expect(taken(1_000)).toBe(perSecond);
      expect(taken(1_000_000)).toBe(Math.min(burst, 999 * perSecond));
    });
  }
});

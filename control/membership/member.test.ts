import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MemberState } from "../contract/membership.ts";
import { memberSum, supersedes } from "./member.ts";

const news = fc.record({
  incarnation: fc.integer({ min: 0, max: 3 }),
  state: fc.constantFrom(...MemberState.options),
});

describe("supersedes()", () => {
  test("a higher incarnation wins, whatever it says", () => {
    expect(supersedes({ incarnation: 2, state: "alive" }, { incarnation: 1, state: "dead" })).toBe(true);
    expect(supersedes({ incarnation: 1, state: "dead" }, { incarnation: 2, state: "alive" })).toBe(false);
  });
  test("within one incarnation a host only gets worse, so a tombstone is not revived by old gossip", () => {
    const at = (state: MemberState) => ({ incarnation: 1, state });
    expect(supersedes(at("suspect"), at("alive"))).toBe(true);
    expect(supersedes(at("dead"), at("suspect"))).toBe(true);
    expect(supersedes(at("left"), at("dead"))).toBe(true);
    expect(supersedes(at("alive"), at("dead"))).toBe(false);
    expect(supersedes(at("dead"), at("dead"))).toBe(false);
  });
  test("leads to the same end in any order and with any repeats", () => {
    fc.assert(
      fc.property(
        fc.array(news, { minLength: 1, maxLength: 8 }),
        fc.infiniteStream(fc.nat()),
        (all, draws) => {
          const end = (list: typeof all) =>
            list.reduce((known, each) => supersedes(each, known) ? each : known);
          const shuffled = [...all, ...all].sort(() => (draws.next().value! % 3) - 1);
          expect(end(shuffled)).toEqual(end(all));
        },
      ),
    );
  });
});

test("memberSum() tells members, incarnations and states apart, but not alive from suspect", () => {
  const sums = new Set<number>();
  for (const id of ["a", "b", "host-1"]) {
    for (const incarnation of [0, 1, 2, 1_790_000_000_000]) {
      for (const state of ["alive", "dead", "left"] as const) sums.add(memberSum(id, state, incarnation));
    }
  }
  expect(sums.size).toBe(36);
  expect(memberSum("a", "suspect", 1)).toBe(memberSum("a", "alive", 1));
});

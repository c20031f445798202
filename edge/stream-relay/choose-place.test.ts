import { describe, expect, test } from "bun:test";
import { choosePlace, type CopyEnd, type Entry, type Sight } from "./choose-place.ts";

const entry = (id: string, text = id): Entry => ({ id, fields: [Buffer.from("batch"), Buffer.from(text)] });
const ends = (last: Entry | null, lastId = last?.id ?? "9-0"): CopyEnd => ({ last, lastId });
const sight = (over: Partial<Sight>): Sight => ({
  ...{ copy: ends(entry("5-0")), upstream: entry("5-0"), twin: null, upstreamHasEntries: true },
  ...over,
});

describe("choosePlace()", () => {
  test("goes on behind the copy's end while the upstream has that entry", () => {
    expect(choosePlace(sight({}))).toEqual({ kind: "follow", after: "5-0", isAnchored: true });
  });

  test("goes on where the upstream lost its tail and has nothing of its own in that place", () => {
    const lost = sight({ upstream: entry("3-0"), twin: entry("3-0") });
    expect(choosePlace(lost)).toEqual({ kind: "follow", after: "5-0", isAnchored: false });
    const emptied = sight({ upstream: null, upstreamHasEntries: false });
    expect(choosePlace(emptied)).toEqual({ kind: "follow", after: "5-0", isAnchored: false });
  });

  for (
    const [when, why, over] of [
      ["there is no copy", "no_copy", { copy: null }],
      ["the copy has no entries", "copy_cut", { copy: ends(null) }],
      ["the copy lost its last entry", "copy_cut", { copy: ends(entry("5-0"), "6-0") }],
      ["the upstream begins behind it", "trimmed", { upstream: null }],
      ["the upstream has another entry before its end", "diverged", { upstream: entry("4-0"), twin: null }],
      ["the upstream has another one under its end's id", "diverged", { upstream: entry("5-0", "another") }],
      ["entries of one id differ", "diverged", { upstream: entry("4-0"), twin: entry("4-0", "another") }],
    ] as const
  ) {
    test(`begins anew where ${when}`, () => {
      expect(choosePlace(sight(over))).toEqual({ kind: "begin", why });
    });
  }
});

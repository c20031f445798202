import { describe, expect, test } from "bun:test";
import type { MemberState } from "../../control/contract/membership.ts";
import { deadHosts } from "./dead-hosts.ts";

const of = (members: Record<string, MemberState>, before: string[] = [], own: string | null = null) => {
  const { hosts, distrusted } = deadHosts(Object.entries(members), new Set(before), own);
  return distrusted ? "distrusted" : [...hosts].sort();
};

describe("deadHosts()", () => {
  test("takes those that are dead, not those that are suspected or have left", () => {
    expect(of({ a: "alive", b: "dead", c: "suspect", d: "left", e: "alive" })).toEqual(["b"]);
  });
  test("keeps one that is back and only suspected, until it is alive", () => {
    expect(of({ a: "alive", b: "suspect" }, ["b"])).toEqual(["b"]);
    expect(of({ a: "alive", b: "alive" }, ["b"])).toEqual([]);
  });
  test("lets go of one that has left or was forgotten: rows decide", () => {
    expect(of({ a: "alive", b: "left" }, ["b", "c"])).toEqual([]);
  });
  test("believes nothing where more than half are dead", () => {
    expect(of({ a: "alive", b: "dead" })).toEqual(["b"]);
    expect(of({ a: "alive", b: "dead", c: "dead" })).toBe("distrusted");
    expect(of({ a: "alive", b: "dead", c: "dead", d: "alive", e: "left" })).toEqual(["b", "c"]);
  });
  test("never takes its own host for dead", () => {
    expect(of({ a: "dead", b: "alive" }, [], "a")).toEqual([]);
  });
  test("knows nothing of nobody", () => {
    expect(of({})).toEqual([]);
  });
});

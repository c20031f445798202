import { describe, expect, test } from "bun:test";
import type { Member } from "./member.ts";
import { MemberTable } from "./member-table.ts";
import { randomOf } from "./sim/random.ts";

const member = (id: string, state: Member["state"], sinceMs = 0): Member => ({
  id,
  state,
  incarnation: 1,
  at: { address: "10.0.0.1", port: 1 },
  sinceMs,
  addressSinceMs: 0,
  flaps: 0,
  flapsAtMs: 0,
  heldUntilMs: 0,
  told: state,
  toldAtMs: 0,
});

describe("MemberTable", () => {
  test("draws and probes those who are live, and follows their changes", () => {
    const table = new MemberTable(randomOf(1));
    const one = member("one", "alive"), two = member("two", "suspect");
    for (const each of [one, two, member("three", "dead")]) table.add(each);
    expect(table.draw(9).map(({ id }) => id).sort()).toEqual(["one", "two"]);
    expect(table.draw(9, "one").map(({ id }) => id)).toEqual(["two"]);
    two.state = "dead";
    table.place(two);
    expect([table.live.length, table.gone().length]).toEqual([1, 2]);
    for (let i = 0; i < 5; i++) expect(table.nextToProbe(() => true)?.id).toBe("one");
    two.state = "alive";
    table.place(two);
    expect(new Set([1, 2, 3, 4].map(() => table.nextToProbe(() => true)?.id))).toEqual(
      new Set(["one", "two"]),
    );
  });
  test("of a bounded size lets go of who has been gone for the longest, and of nobody live", () => {
    const table = new MemberTable(randomOf(1), 2);
    table.add(member("old", "dead", 1));
    table.add(member("new", "left", 2));
    expect(table.add(member("one", "alive"))).toBe(true);
    expect(table.get("old")).toBe(undefined);
    expect(table.add(member("two", "alive"))).toBe(true);
    expect(table.add(member("three", "alive"))).toBe(false);
    expect(table.size).toBe(2);
  });
  test("has the same sum as another that knows the same, in whatever order it came to know it", () => {
    const [one, two] = [new MemberTable(randomOf(1)), new MemberTable(randomOf(2))];
    for (const id of ["a", "b", "c"]) one.add(member(id, "alive"));
    for (const id of ["c", "a", "b"]) two.add(member(id, id === "b" ? "suspect" : "alive"));
    expect(one.sum()).toBe(two.sum());
    two.add(member("d", "dead"));
    expect(one.sum()).not.toBe(two.sum());
  });
});

import { expect, test } from "bun:test";
import { Deadlines, type Timed } from "./deadlines.ts";

test("deadlines are told once each, and one that throws is told so and stops no other", () => {
  const deadlines = new Deadlines();
  const told: string[] = [];
  const timed = (name: string, deadlineMs: number, fails = false): Timed => ({
    deadlineMs,
    onDeadline() {
      told.push(name);
      if (fails) throw new Error(name);
    },
    onFault: (error) => told.push(String(error)),
  });
  for (const each of [timed("a", 10, true), timed("b", 20), timed("c", 30)]) deadlines.add(each);
  deadlines.sweep(20);
  deadlines.sweep(25);
  expect(told).toEqual(["a", "Error: a", "b"]);
});

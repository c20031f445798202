import { expect, test } from "bun:test";
import { ProbeOrder } from "./probe-order.ts";
import { randomOf } from "./sim/random.ts";

test("ProbeOrder gives everybody a turn in each round, in another order each time", () => {
  const order = new ProbeOrder(randomOf(1));
  const ids = Array.from({ length: 20 }, (_, i) => `h${i}`);
  for (const id of ids) order.add(id);
  const round = () => ids.map(() => order.next(() => true)!);
  const [first, second] = [round(), round()];
  expect([...first].sort()).toEqual([...ids].sort());
  expect([...second].sort()).toEqual([...ids].sort());
  expect(first).not.toEqual(second);
});

test("ProbeOrder gives one that comes in the middle of a round its turn within two, and forgets one that goes", () => {
  const order = new ProbeOrder(randomOf(2));
  for (const id of ["a", "b", "c"]) order.add(id);
  order.next(() => true);
  order.add("d");
  order.remove("a");
  const turns = Array.from({ length: 6 }, () => order.next(() => true));
  expect(turns).toContain("d");
  expect(turns.slice(3)).not.toContain("a");
  expect(order.next(() => false)).toBe(null);
});

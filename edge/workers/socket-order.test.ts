import { expect, test } from "bun:test";
import { SocketOrder } from "./socket-order.ts";

test("SocketOrder moves the last one to where one has left, as the kernel does", () => {
  const order = new SocketOrder();
  for (const member of [10, 11, 12, 13]) order.join(member);
  order.leave(11);
  expect([10, 13, 12].map((member) => order.indexOf(member))).toEqual([0, 1, 2]);
  order.leave(12);
  order.leave(99);
  expect(order.count).toBe(2);
  expect([order.indexOf(10), order.indexOf(13), order.indexOf(11)]).toEqual([0, 1, -1]);
});

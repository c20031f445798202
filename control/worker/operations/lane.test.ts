import { expect, test } from "bun:test";
import { Lane } from "./lane.ts";

const never = new AbortController().signal;

test("Lane runs as many at once as it has places, and the rest in order", async () => {
  const lane = new Lane(2);
  const gates = [1, 2, 3, 4].map(() => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = gates.map((gate, n) =>
    lane.run(async () => {
      begun.push(n);
      await gate.promise;
    }, never)
  );
  const places = async (count: number) => {
    for (let turns = 0; begun.length < count && turns < 100; turns++) await Promise.resolve();
  };
  await places(3);
  expect(begun).toEqual([0, 1]);
  gates[1]!.resolve();
  await all[1];
  await places(3);
  expect(begun).toEqual([0, 1, 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all(all);
  expect(begun).toEqual([0, 1, 2, 3]);
});

test("Lane gives a place back when what ran there failed", async () => {
  const lane = new Lane(1);
  expect(lane.run(() => Promise.reject(new Error("no")), never)).rejects.toThrow("no");
  expect(await lane.run(() => Promise.resolve(1), never)).toBe(1);
});

test("Lane lets go of who gives up waiting, and its place goes to the next", async () => {
  const lane = new Lane(1);
  const gate = Promise.withResolvers<void>();
  const first = lane.run(() => gate.promise, never);
  const giveUp = new AbortController();
  const second = lane.run(() => Promise.resolve("second"), giveUp.signal);
  const third = lane.run(() => Promise.resolve("third"), never);
  giveUp.abort();
  expect(await second).toBeNull();
  gate.resolve();
  await first;
  expect(await third).toBe("third");
  expect(await lane.run(() => Promise.resolve("late"), giveUp.signal)).toBeNull();
});

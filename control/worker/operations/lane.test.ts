import { expect, test } from "bun:test";
import { Lane } from "./lane.ts";

test("Lane runs as many at once as it has places, and the rest in order", async () => {
  const lane = new Lane(2);
  const gates = [1, 2, 3, 4].map(() => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = gates.map((gate, n) =>
    lane.run(async () => {
      begun.push(n);
      await gate.promise;
    })
  );
  await Promise.resolve();
  expect(begun).toEqual([0, 1]);
  gates[1]!.resolve();
  await all[1];
  await Promise.resolve();
  expect(begun).toEqual([0, 1, 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all(all);
  expect(begun).toEqual([0, 1, 2, 3]);
});

test("Lane gives a place back when what ran there failed", async () => {
  const lane = new Lane(1);
  expect(lane.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await lane.run(() => Promise.resolve(1))).toBe(1);
});

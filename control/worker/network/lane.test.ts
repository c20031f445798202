import { expect, test } from "bun:test";
import { Batch, BATCH_MAX, Lane } from "./lane.ts";

test("Lane runs tasks one after another, and goes on after one that failed", async () => {
  const lane = new Lane();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = lane.run(() => gate.promise.then(() => order.push("first")));
  const second = lane.run(() => Promise.reject(new Error("no")));
  const third = lane.run(async () => order.push("third"));
  gate.resolve();
  await first;
  expect(second).rejects.toThrow("no");
  await third;
  expect(order).toEqual(["first", "third"]);
});

test("Batch takes together what came while a change was under way, at most BATCH_MAX", async () => {
  const sizes: number[] = [];
  const gate = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const batch = new Batch<number>(new Lane(), async (items) => {
    sizes.push(items.length);
    started.resolve();
    await gate.promise;
    return items.map(() => null);
  });
  const first = batch.add(0);
  await started.promise;
  const rest = Array.from({ length: BATCH_MAX + 3 }, (_, i) => batch.add(i));
  gate.resolve();
  await Promise.all([first, ...rest]);
  expect(sizes).toEqual([1, BATCH_MAX, 3]);
});

test("Batch fails only the item that is to blame", async () => {
  const batch = new Batch<number>(
    new Lane(),
    (items) => Promise.resolve(items.map((item) => item === 2 ? new Error("two") : null)),
  );
  const outcomes = await Promise.allSettled([1, 2, 3].map((item) => batch.add(item)));
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

test("Batch fails all items of a change that failed as a whole", async () => {
  const batch = new Batch<number>(new Lane(), () => Promise.reject(new Error("all")));
  const outcomes = await Promise.allSettled([batch.add(1), batch.add(2)]);
  expect(outcomes.every(({ status }) => status === "rejected")).toBe(true);
});

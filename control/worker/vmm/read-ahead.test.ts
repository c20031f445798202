import { expect, test } from "bun:test";
import { ReadAhead } from "./read-ahead.ts";

const ITEMS_MAX = 3;

/** Counts what was taken of it, and notes whether it was left as a generator should be. */
function source(count: number, failure: Error | null = null) {
  const seen = { taken: 0, isLeft: false };
  async function* items() {
    try {
      for (; seen.taken < count;) yield { at: seen.taken++ };
      if (failure !== null) throw failure;
    } finally {
      seen.isLeft = true;
    }
  }
  return { seen, items: items() };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test("ReadAhead gives all in order, and takes no more than its bound before it is asked", async () => {
  const { seen, items } = source(10);
  const ahead = new ReadAhead(items, ITEMS_MAX);
  await turn();
  expect(seen.taken).toBe(ITEMS_MAX);
  const found: number[] = [];
  for await (const { at } of ahead.items()) {
    found.push(at);
    await turn();
    expect(seen.taken).toBe(Math.min(10, found.length + ITEMS_MAX));
  }
  expect(found).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("ReadAhead fails behind the items that came before", async () => {
  const { items } = source(2, new Error("broken"));
  const found: number[] = [];
  const reading = (async () => {
    for await (const { at } of new ReadAhead(items, ITEMS_MAX).items()) found.push(at);
  })();
  expect(await reading.then(() => null, (error) => error.message)).toBe("broken");
  expect(found).toEqual([0, 1]);
});

test("stop() leaves the source alone, whether anybody took of it or not", async () => {
  const { seen, items } = source(10);
  const ahead = new ReadAhead(items, ITEMS_MAX);
  await turn();
  await ahead.stop();
  expect(seen).toEqual({ taken: ITEMS_MAX, isLeft: true });
});

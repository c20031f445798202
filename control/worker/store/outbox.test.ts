import { expect, test } from "bun:test";
import { isNewer } from "../../contract/events.ts";
import { acknowledge, enqueue, outboxDepth, pending } from "./outbox.ts";
import { aStore } from "./store.fixture.ts";

const appended = { firstId: "1-0", lastId: "1-0" };
const host = { id: "h1", region: "dev", state: "ready", cpus: 2, memory_mb: 1_024 } as const;

test("enqueue() keeps the newest event of a key alone", () => {
  const store = aStore();
  store.write(() => enqueue(store, "hosts", host, false));
  const [older] = pending(store, 10);
  store.write(() => enqueue(store, "hosts", { ...host, cpus: 4 }, false));
  const entries = pending(store, 10);
  expect(entries).toHaveLength(1);
  expect(entries[0]?.event.row).toMatchObject({ cpus: 4 });
  expect(isNewer(entries[0]!.event.version, older!.event.version)).toBe(true);
});

test("acknowledge() leaves an entry that was replaced since it was read", () => {
  const store = aStore();
  store.write(() => enqueue(store, "hosts", host, false));
  const read = pending(store, 10);
  store.write(() => enqueue(store, "hosts", { ...host, cpus: 4 }, false));
  acknowledge(store, read, appended);
  expect(outboxDepth(store)).toBe(1);
  acknowledge(store, pending(store, 10), appended);
  expect(outboxDepth(store)).toBe(0);
});

test("enqueue() is undone with the transaction that it was part of", () => {
  const store = aStore();
  expect(() =>
    store.write(() => {
      enqueue(store, "hosts", host, false);
      throw new Error("no");
    })
  ).toThrow("no");
  expect(outboxDepth(store)).toBe(0);
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { z } from "zod";
import { regionStream, StateEvent } from "../contract/events.ts";
import { readEntry } from "../contract/stream-entry.ts";
import { Metrics } from "./metrics.ts";
import { Outbox } from "./outbox.ts";
import { connectRedis } from "./redis.ts";
import { RestartableRedis } from "./redis.fixture.ts";
import { enqueue, outboxDepth } from "./store/outbox.ts";
import type { Store } from "./store/store.ts";
import { aStore } from "./store/store.fixture.ts";

let redis: RestartableRedis;
let store: Store;
let reader: Redis;
let writer: Redis;
let outbox: Outbox;
const failures: unknown[] = [];

beforeEach(async () => {
  redis = new RestartableRedis();
  const server = await redis.start();
  store = aStore();
  reader = new Redis(server.urlOf("admin"));
  reader.on("error", () => {}); // it is taken away on purpose
  writer = connectRedis(server.urlOf("worker"), () => {});
  failures.length = 0;
  outbox = anOutbox();
}, 60_000);
afterEach(async () => {
  await outbox.stop();
  for (const client of [reader, writer]) client.disconnect();
  store.close();
  await redis.remove();
}, 60_000);

function anOutbox(): Outbox {
  return new Outbox({
    redis: writer,
    store,
    key: null,
    metrics: new Metrics(),
    random: Math.random,
    onFailure: (error) => failures.push(error),
  });
}

function change(cpus: number): void {
  const row = { id: "h1", region: "dev", state: "ready" as const, cpus, memory_mb: 1_024 };
  store.write(() => enqueue(store, "hosts", row, false));
}

/** The next `count` events after `from`, awaited. */
async function read(count: number, from = "0"): Promise<StateEvent[]> {
  const events: StateEvent[] = [];
  for (let last = from; events.length < count;) {
    const answer = await reader.xread("COUNT", count, "BLOCK", 20_000, "STREAMS", regionStream("dev"), last);
    if (answer === null) break;
    for (const [id, fields] of answer[0]![1]) {
      last = id;
      const entry = readEntry(fields)!;
      if (entry.kind === "batch") events.push(...z.array(StateEvent).parse(JSON.parse(entry.payload)));
    }
  }
  return events;
}

async function emptied(): Promise<void> {
  while (outboxDepth(store) > 0) await Bun.sleep(1);
}

describe("Outbox", () => {
  test("publishes each committed change in order and keeps none that Redis has", async () => {
    outbox.start();
    for (const cpus of [1, 2, 3]) {
      change(cpus);
      await emptied();
    }
    expect((await read(3)).map((event) => event.row?.cpus)).toEqual([1, 2, 3]);
  }, 60_000);

  test("publishes what a former agent had left", async () => {
    change(7);
    outbox.start();
    expect(await read(1)).toMatchObject([{ owner: "worker:h1", table: "hosts", row: { cpus: 7 } }]);
    await emptied();
  }, 60_000);

  test(
    "holds changes while Redis is away, and publishes the newest of each key when it is back",
    async () => {
      outbox.start();
      change(1);
      await emptied();
      await redis.stop();
      for (const cpus of [2, 3, 4]) change(cpus);
      expect(outboxDepth(store)).toBe(1);
      await redis.start();
      // The server came back empty, and not even the first of what is published is older than what waited.
      expect((await read(1)).map((event) => event.row?.cpus)).toEqual([4]);
      await emptied();
    },
    60_000,
  );

  test("says once that it cannot publish, not with each try, and goes on when it can", async () => {
    outbox.start();
    change(2);
    await emptied();
    // A key of another type stands in the way of the stream: the connection is fine, each append is refused.
    await reader.del(regionStream("dev"));
    await reader.set(regionStream("dev"), "in the way");
    change(1);
    while (failures.length === 0) await Bun.sleep(1);
    await reader.del(regionStream("dev"));
    await emptied();
    expect(failures).toHaveLength(1);
    expect(await reader.xlen(regionStream("dev"))).toBe(1);
  }, 60_000);

  test("goes on when its disk could not note for a while what Redis has", async () => {
    outbox.start();
    while (await reader.xlen(regionStream("dev")) === 0) await Bun.sleep(1);
    await outbox.stop();
    change(1);
    store.db.run("PRAGMA query_only = ON");
    outbox = anOutbox();
    outbox.start();
    expect((await read(1))[0]?.row).toMatchObject({ cpus: 1 });
    while (failures.length === 0) await Bun.sleep(1);
    expect(outboxDepth(store)).toBe(1);
    store.db.run("PRAGMA query_only = OFF");
    change(2);
    while (outboxDepth(store) > 0) await Bun.sleep(5);
    expect(failures).toHaveLength(1);
  }, 60_000);
});

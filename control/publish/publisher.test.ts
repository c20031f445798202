import { afterAll, afterEach, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisOptions, type RedisServer, startRedis } from "../../deploy/servers/redis.ts";
import { testDatabase, testFolder } from "../../deploy/servers/testbed.ts";
import { z } from "zod";
import { GLOBAL_STREAM, isNewer, StateEvent } from "../contract/events.ts";
import { readEntry } from "../contract/stream-entry.ts";
import { newRowId } from "../contract/names.ts";
import { ownerMayWrite } from "../contract/rows.ts";
import { insertApp, setCurrentRelease } from "../store/apps.ts";
import { Store } from "../store/database.ts";
import { deleteHostnamesOfApp, insertHostname } from "../store/hostnames.ts";
import { migrate } from "../store/migrate.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { outboxDepth } from "../store/outbox.ts";
import { announceApp, announceHostname } from "./announce.ts";
import { Publisher } from "./publisher.ts";
import { connectRedis } from "./redis.ts";

let store: Store;
let redisOptions: RedisOptions;
let server: RedisServer;
let reader: Redis;
let orgId: string;
const publishers: { publisher: Publisher; redis: Redis }[] = [];

beforeAll(async () => {
  store = new Store(await testDatabase());
  await migrate(store);
  orgId = (await store.read((sql) => ensureOrganization(sql, "personal"))).id;
  const port = await freePort();
  redisOptions = {
    folder: join(testFolder(), `publisher-${port}`),
    port,
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    logFile: join(testFolder(), `publisher-${port}.log`),
  };
  server = await startRedis(redisOptions);
  reader = new Redis(server.urlOf("admin"));
  // It is stopped on purpose below; ioredis would print each failed try.
  reader.on("error", () => {});
}, 60_000);
afterEach(async () => {
  for (const { publisher, redis } of publishers.splice(0)) {
    await publisher.stop();
    redis.disconnect();
  }
});
afterAll(async () => {
  reader.disconnect();
  await store.close();
  await server.stop();
});

async function startPublisher(
  sweepIntervalMs = 60_000,
  onFailure: () => void = () => {},
): Promise<Publisher> {
  const redis = connectRedis(server.urlOf("api"));
  // Where Redis is away now, the connection comes by itself later.
  await redis.connect().catch(() => {});
  const publisher = new Publisher({ store, redis, key: null, log: () => {}, onFailure, sweepIntervalMs });
  await publisher.start();
  publishers.push({ publisher, redis });
  return publisher;
}

async function events(): Promise<StateEvent[]> {
  const entries = await reader.xrange(GLOBAL_STREAM, "-", "+");
  return entries.flatMap(([, fields]) => {
    const entry = readEntry(fields);
    return entry?.kind === "batch" ? z.array(StateEvent).parse(JSON.parse(entry.payload)) : [];
  });
}

async function untilEmpty(): Promise<void> {
  while (await store.read(outboxDepth) > 0) await Bun.sleep(5);
}

async function createApp(name: string): Promise<string> {
  const id = newRowId();
  await store.transaction(async (tx) => {
    await insertApp(tx, { id, orgId, name });
    await insertHostname(tx, `${name}.localhost`, id);
    await announceApp(tx, id);
    await announceHostname(tx, `${name}.localhost`);
  });
  return id;
}

/** What a replica would hold. */
function replica(all: StateEvent[]): Map<string, StateEvent> {
  const rows = new Map<string, StateEvent>();
  for (const event of all) {
    const key = `${event.table}/${event.key}`;
    const known = rows.get(key);
    if (known === undefined || isNewer(event.version, known.version)) rows.set(key, event);
  }
  return rows;
}

describe("Publisher", () => {
  test("appends what was committed, woken by the commit and not by its sweep", async () => {
    await startPublisher();
    const id = await createApp("first");
    await untilEmpty();
    const rows = replica(await events());
    expect(rows.get(`apps/${id}`)!.row).toEqual({
      id,
      name: "first",
      org_id: orgId,
      org_slug: "personal",
      services: [],
    });
    expect(rows.get("hostnames/first.localhost")!.row).toEqual({ hostname: "first.localhost", app_id: id });
    for (const event of rows.values()) {
      expect(ownerMayWrite(event.owner, event.table as "apps", event.key)).toBe(true);
    }
  });

  test("publishes nothing of a transaction that was rolled back", async () => {
    await startPublisher();
    const id = newRowId();
    const failed = store.transaction(async (tx) => {
      await insertApp(tx, { id, orgId, name: "never" });
      await announceApp(tx, id);
      throw new Error("rolled back");
    });
    await expect(failed).rejects.toThrow("rolled back");
    await createApp("after-never");
    await untilEmpty();
    expect(replica(await events()).has(`apps/${id}`)).toBe(false);
  });

  test("publishes a row that is gone as a tombstone with a higher version", async () => {
    await startPublisher();
    const id = await createApp("removed");
    await store.transaction(async (tx) => {
      for (const hostname of await deleteHostnamesOfApp(tx, id)) await announceHostname(tx, hostname);
    });
    await untilEmpty();
    const last = replica(await events()).get("hostnames/removed.localhost")!;
    expect([last.deleted, last.row]).toEqual([true, null]);
  });

  test("keeps all events while Redis is away, and publishes them when it is back", async () => {
    await startPublisher(100);
    await server.stop();
    const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => createApp(`offline-${i}`)));
    expect(await store.read(outboxDepth)).toBe(40);
    server = await startRedis(redisOptions);
    await untilEmpty();
    const rows = replica(await events());
    for (const id of ids) expect(rows.has(`apps/${id}`)).toBe(true);
  }, 30_000);

  test("sits its wait after a failure out: commits meanwhile begin nothing", async () => {
    const failed = Promise.withResolvers<void>();
    const publisher = await startPublisher(100, failed.resolve);
    await server.stop();
    try {
      await createApp("waits-once");
      await failed.promise;
      const waits = spyOn(Promise, "withResolvers");
      for (let i = 0; i < 10; i++) {
        publisher.wake();
        await new Promise((resolve) => setImmediate(resolve));
      }
      const begun = waits.mock.calls.length;
      waits.mockRestore();
      // The end of the wait itself may be among them; ten are one at each commit.
      expect(begun).toBeLessThan(10);
    } finally {
      server = await startRedis(redisOptions);
    }
    await untilEmpty();
  }, 30_000);

  test("two publishers and many writers of one row end with the row's last state", async () => {
    await startPublisher(50);
    await startPublisher(50);
    const id = await createApp("contended");
    await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        store.transaction(async (tx) => {
          const services = [{
            protocol: "tcp" as const,
            internal_port: 1_000 + i,
            ports: [{ port: 80, handlers: ["http" as const], force_https: false }],
            concurrency: { type: "connections" as const, soft_limit: 20, hard_limit: null },
          }];
          await setCurrentRelease(tx, id, { id: newRowId(), services });
          await announceApp(tx, id);
        })),
    );
    await untilEmpty();
    const [row] = await store.read((sql) => sql`SELECT services FROM apps WHERE id = ${id}`);
    const published = replica(await events()).get(`apps/${id}`)!;
    expect(published.row!.services).toEqual(row.services);
    const seqs = (await events()).filter((e) => e.key === id).map((e) => e.version.seq);
    expect(new Set(seqs).size).toBe(seqs.length);
  }, 30_000);
});

/** A publisher and what befalls its stream: whatever it is, a reader that has the stream alone ends with the owner's rows. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisOptions, type RedisServer, startRedis } from "../../deploy/servers/redis.ts";
import { testDatabase, testFolder } from "../../deploy/servers/testbed.ts";
import { GLOBAL_STREAM } from "../contract/events.ts";
import { newRowId } from "../contract/names.ts";
import { newSigningKeyPem, signingKey } from "../contract/signing.ts";
import { insertApp } from "../store/apps.ts";
import { Store } from "../store/database.ts";
import { deleteHostnamesOfApp, insertHostname } from "../store/hostnames.ts";
import { registerHost } from "../store/hosts.ts";
import { migrate, readMigrations } from "../store/migrate.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { outboxDepth } from "../store/outbox.ts";
import { pageOfPublished, publishState } from "../store/published.ts";
import { announceApp, announceHostname, announcePublisher } from "./announce.ts";
import { readAnew, type Reading } from "./fresh-reader.fixture.ts";
import { Publisher } from "./publisher.ts";
import { connectRedis } from "./redis.ts";

const TICK_MS = 100;
const WAIT_MS = 20_000;
const key = signingKey(newSigningKeyPem());
let store: Store;
let redisOptions: RedisOptions;
let server: RedisServer;
let admin: Redis;
let orgId: string;
const running: { publisher: Publisher; redis: Redis }[] = [];
const reasons: string[] = [];

beforeAll(async () => {
  store = new Store(await testDatabase());
  await migrate(store);
  orgId = (await store.read((sql) => ensureOrganization(sql, "personal"))).id;
  const port = await freePort();
  redisOptions = {
    folder: join(testFolder(), `publisher-stream-${port}`),
    port,
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    logFile: join(testFolder(), `publisher-stream-${port}.log`),
  };
  server = await startRedis(redisOptions);
  admin = new Redis(server.urlOf("admin"), { protocol: 2 });
  // It is stopped on purpose below; ioredis would print each failed try.
  admin.on("error", () => {});
}, 60_000);
afterEach(stopPublishers, 60_000);
afterAll(async () => {
  admin.disconnect();
  await store.close();
  await server.stop();
});

async function startPublisher(digestIntervalMs = TICK_MS): Promise<void> {
  const redis = connectRedis(server.urlOf("api"));
  await redis.connect();
  const publisher = new Publisher({
    store,
    redis,
    key,
    log: () => {},
    onRepublish: (reason) => reasons.push(reason),
    digestIntervalMs,
  });
  await publisher.start();
  running.push({ publisher, redis });
}

async function stopPublishers(): Promise<void> {
  for (const { publisher, redis } of running.splice(0)) {
    await publisher.stop();
    redis.disconnect();
  }
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

async function dropHostnames(appId: string): Promise<void> {
  await store.transaction(async (tx) => {
    for (const hostname of await deleteHostnamesOfApp(tx, appId)) await announceHostname(tx, hostname);
  });
}

/** The owner's rows by its own tables, not by its note of what was published. */
async function owned(): Promise<string[]> {
  const rows = await store.read((sql) =>
    sql`SELECT 'apps/' || id || ' ' || name AS row FROM apps
      UNION ALL SELECT 'hostnames/' || hostname || ' ' || app_id FROM hostnames`
  );
  return rows.map(({ row }: { row: string }) => row).sort();
}

function held({ live }: Reading): string[] {
  return Array.from(live, ([name, { row }]) => `${name} ${row!.name ?? row!.app_id}`).sort();
}

/** Once a new reader ends with the owner's rows and with a digest that is true. */
async function untilWhole(): Promise<Reading> {
  const rows = await owned();
  for (const deadline = Date.now() + WAIT_MS;;) {
    const reading = await readAnew(admin, GLOBAL_STREAM, "api", key.publicKey);
    const isWhole = Bun.deepEquals(held(reading), rows) && reading.lastIsDigest &&
      reading.digests.at(-1)!.matches;
    if (isWhole) return reading;
    if (Date.now() > deadline) {
      expect({ held: held(reading), last: reading.digests.at(-1) }).toEqual({ held: rows, last: undefined });
    }
    await Bun.sleep(5);
  }
}

describe("Publisher and its stream", () => {
  test(
    "digests are true at their places while two publishers append changes side by side, and all is signed",
    async () => {
      await startPublisher();
      await startPublisher();
      const ids: string[] = [];
      for (let round = 0; round < 6; round++) {
        ids.push(
          ...await Promise.all(Array.from({ length: 50 }, (_, i) => createApp(`beside-${round}-${i}`))),
        );
        if (round % 2 === 1) await dropHostnames(ids[round]!);
        const before = (await readAnew(admin, GLOBAL_STREAM, "api")).digests.length;
        while ((await readAnew(admin, GLOBAL_STREAM, "api")).digests.length === before) await Bun.sleep(5);
      }
      const reading = await untilWhole();
      expect(reading.digests.length).toBeGreaterThan(5);
      expect(reading.digests.filter((digest) => !digest.matches)).toEqual([]);
      expect(reading.unsigned).toBe(0);
      // Many events an entry, not one each.
      expect(reading.entries - reading.digests.length).toBeLessThan(reading.events.length);
      expect(reading.digests.at(-1)!.digest.tables.certificates).toEqual({ rows: 0, sum: "0".repeat(32) });
    },
    60_000,
  );

  test("one digest an interval, however many publishers there are", async () => {
    await startPublisher(60_000);
    await startPublisher(60_000);
    await createApp("one-digest");
    await untilEmptyOutbox();
    const before = (await readAnew(admin, GLOBAL_STREAM, "api")).digests.length;
    await startPublisher(60_000);
    await createApp("one-digest-more");
    await untilEmptyOutbox();
    expect((await readAnew(admin, GLOBAL_STREAM, "api")).digests.length).toBe(before);
  }, 60_000);

  const losses: [string, () => Promise<unknown>][] = [
    ["FLUSHALL", () => admin.flushall()],
    ["DEL of the stream", () => admin.del(GLOBAL_STREAM)],
    ["XTRIM to nothing", () => admin.xtrim(GLOBAL_STREAM, "MAXLEN", 0)],
    ["XTRIM past the full publication", () => admin.xtrim(GLOBAL_STREAM, "MAXLEN", 2)],
  ];
  for (const [name, lose] of losses) {
    test(`after ${name} publishes all rows again`, async () => {
      await startPublisher();
      const gone = await createApp(`lost-${newRowId().toLowerCase().slice(-8)}`);
      await dropHostnames(gone);
      await untilWhole();
      reasons.length = 0;
      const versions = versionsOf(await untilWhole());
      await lose();
      const reading = await untilWhole();
      expect(versionsOf(reading)).toEqual(versions);
      // Which one it is depends on whether a digest came first.
      expect(reasons).not.toEqual([]);
      // The tombstone too: replicas that kept the row learn that it is gone.
      expect(reading.events.some((event) => event.deleted)).toBe(true);
    }, 60_000);
  }

  test("after Redis came back from an older append-only file publishes all rows again", async () => {
    await startPublisher();
    await createApp("before-the-copy");
    await untilWhole();
    await stopPublishers();
    const copy = `${redisOptions.folder}.copy`;
    await server.stop();
    cpSync(redisOptions.folder, copy, { recursive: true });
    server = await startRedis(redisOptions);
    // No tick will come to its help: the look is the new connection's.
    await startPublisher(600_000);
    await createApp("after-the-copy");
    await untilEmptyOutbox();
    await server.stop();
    rmSync(redisOptions.folder, { recursive: true });
    cpSync(copy, redisOptions.folder, { recursive: true });
    reasons.length = 0;
    // Changes go on meanwhile: what is appended after the loss must not hide it.
    const changes = createApp("while-away");
    server = await startRedis(redisOptions);
    await changes;
    await untilWhole();
    expect(reasons).toContain("tail_lost");
  }, 60_000);

  test(
    "two publishers, changes all the while, and a Redis that is emptied, trimmed and restarted: all is there in the end",
    async () => {
      await startPublisher();
      await startPublisher();
      const blows: (() => Promise<unknown>)[] = [
        () => admin.flushall(),
        () => admin.xtrim(GLOBAL_STREAM, "MAXLEN", 1),
        async () => {
          await server.stop();
          server = await startRedis(redisOptions);
        },
        () => admin.del(GLOBAL_STREAM),
        () => admin.xtrim(GLOBAL_STREAM, "MAXLEN", 0),
      ];
      for (const [round, blow] of [...blows, ...blows].entries()) {
        const changes = Promise.all(Array.from({ length: 20 }, (_, i) => createApp(`storm-${round}-${i}`)));
        await blow();
        const ids = await changes;
        await dropHostnames(ids[0]!);
      }
      await untilEmptyOutbox();
      await untilWhole();
      // And stays so: nobody goes on republishing.
      const [state] = await store.read((sql) => sql`SELECT republish_number FROM publish_state`);
      for (let ticks = 0; ticks < 4; ticks++) {
        const before = (await readAnew(admin, GLOBAL_STREAM, "api")).digests.length;
        while ((await readAnew(admin, GLOBAL_STREAM, "api")).digests.length === before) await Bun.sleep(5);
      }
      const [later] = await store.read((sql) => sql`SELECT republish_number FROM publish_state`);
      expect(Number(later.republish_number) - Number(state.republish_number)).toBeLessThan(2);
      await untilWhole();
    },
    60_000,
  );

  test("a publisher that dies amid a republication is taken over from", async () => {
    await startPublisher();
    await untilWhole();
    await stopPublishers();
    await store.read((sql) =>
      sql`UPDATE publish_state SET republishing = true, republish_number = republish_number + 1,
        republish_from_id = NULL, republish_table = '', republish_key = ''`
    );
    await admin.flushall();
    await startPublisher();
    await untilWhole();
    // The entry is there a moment before the note of it.
    while ((await store.read(publishState)).republication !== null) await Bun.sleep(5);
  }, 60_000);

  test(
    "a database that was set back takes a new epoch by itself, and readers drop what it no longer knows",
    async () => {
      await startPublisher();
      const kept = await createApp("in-the-backup");
      await untilWhole();
      await stopPublishers();
      const tables = ["apps", "hostnames", "published", "publish_state", "publish_epoch"];
      const [sequence] = await store.read((sql) => sql`SELECT last_value FROM publish_seq`);
      for (const table of tables) {
        await store.read((sql) => sql.unsafe(`CREATE TABLE backup_${table} AS TABLE ${table}`));
      }
      await startPublisher();
      const lost = await createApp("after-the-backup");
      await dropHostnames(kept);
      const before = await untilWhole();
      expect(before.live.has(`apps/${lost}`)).toBe(true);
      await stopPublishers();

      await store.transaction(async (tx) => {
        await tx.unsafe(`TRUNCATE outbox, ${[...tables].reverse().join(", ")} CASCADE`);
        for (const table of tables) await tx.unsafe(`INSERT INTO ${table} TABLE backup_${table}`);
        await tx`SELECT setval('publish_seq', ${sequence.last_value}::bigint)`;
      });
      reasons.length = 0;
      await startPublisher();
      const after = await untilWhole();
      expect(reasons).toEqual(["new_epoch"]);
      expect(after.live.has(`apps/${lost}`)).toBe(false);
      expect(after.live.has("hostnames/in-the-backup.localhost")).toBe(true);
      const { newest, floor_epoch } = after.digests.at(-1)!.digest;
      expect(newest.epoch).toBeGreaterThan(before.digests.at(-1)!.digest.newest.epoch);
      expect(floor_epoch).toBe(newest.epoch);

      await createApp("goes-on");
      await untilWhole();
      await stopPublishers();
      reasons.length = 0;
      await startPublisher();
      await untilWhole();
      expect(reasons).toEqual([]);
    },
    60_000,
  );

  test(
    "the note of what was published has every row of the earlier version's tables after the migration",
    async () => {
      const old = new Store(await testDatabase());
      const [first, ...rest] = readMigrations();
      await migrate(old, [first!]);
      const org = await old.read((sql) => ensureOrganization(sql, "personal"));
      const id = newRowId();
      await old.transaction(async (tx) => {
        await insertApp(tx, { id, orgId: org.id, name: "early" });
        await insertHostname(tx, "early.localhost", id);
      });
      await migrate(old, [first!, ...rest]);
      const rows = await old.read((sql) => pageOfPublished(sql, { table: "", key: "" }, 10));
      expect(rows.map((row) => row.content)).toEqual([
        { id, name: "early", org_id: org.id, org_slug: "personal", services: [] },
        { hostname: "early.localhost", app_id: id },
      ]);
      await old.close();
    },
    60_000,
  );

  test("announcePublisher() publishes the key of a host, which stays the host's", async () => {
    await startPublisher();
    const registration = {
      host: {
        id: "signing-host",
        region: "dev",
        version: "0",
        vmm: "runc" as const,
        acceleration: "none" as const,
        cpus: 1,
        memory_mb: 1,
        memory_free_mb: 1,
        machines: 0,
      },
      url: "unix:/nonexistent",
    };
    const register = (publisher_key?: string) =>
      store.transaction(async (tx) => {
        const isNew = await registerHost(tx, { ...registration, ...(publisher_key && { publisher_key }) });
        if (isNew) await announcePublisher(tx, "signing-host");
        return isNew;
      });
    const hostKey = signingKey(newSigningKeyPem()).publicKey;
    expect([await register(), await register(hostKey), await register(hostKey), await register()])
      .toEqual([false, true, false, false]);
    await expect(register(signingKey(newSigningKeyPem()).publicKey)).rejects.toMatchObject({
      code: "host.publisher_key_changed",
    });
    await untilEmptyOutbox();
    const { live } = await readAnew(admin, GLOBAL_STREAM, "api", key.publicKey);
    expect(live.get("publishers/worker:signing-host")!.row).toEqual({
      owner: "worker:signing-host",
      public_key: hostKey,
    });
  }, 60_000);
});

async function untilEmptyOutbox(): Promise<void> {
  while (await store.read(outboxDepth) > 0) await Bun.sleep(5);
}

function versionsOf({ live }: Reading): string[] {
  return Array.from(live, ([name, { version }]) => `${name} ${version.epoch}-${version.seq}`).sort();
}

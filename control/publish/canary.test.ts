/** What is given to a deploy for the machine alone must not travel with the routing projection. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { type RedisServer } from "../../deploy/servers/redis.ts";
import { startOwnRedis, testDatabase } from "../../deploy/servers/testbed.ts";
import { newRowId } from "../contract/names.ts";
import { insertApp, setCurrentRelease } from "../store/apps.ts";
import { Store } from "../store/database.ts";
import { insertHostname } from "../store/hostnames.ts";
import { migrate } from "../store/migrate.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { outboxDepth } from "../store/outbox.ts";
import { insertRelease } from "../store/releases.ts";
import { announceApp, announceHostname } from "./announce.ts";
import { Publisher } from "./publisher.ts";
import { connectRedis } from "./redis.ts";

const canary = "canary-5f2c9a71";
let store: Store;
let server: RedisServer;
beforeAll(async () => {
  store = new Store(await testDatabase());
  await migrate(store);
  server = await startOwnRedis();
}, 60_000);
afterAll(async () => {
  await store.close();
  await server.stop();
});

test("announceApp() publishes no env, command or entrypoint of a release", async () => {
  const org = await store.read((sql) => ensureOrganization(sql, "personal"));
  const id = newRowId();
  await store.transaction(async (tx) => {
    await insertApp(tx, { id, orgId: org.id, name: "secretive" });
    await insertHostname(tx, "secretive.localhost", id);
    const release = await insertRelease(tx, {
      id: newRowId(),
      appId: id,
      imageRef: `registry.example/${canary}`,
      guest: { cpu_kind: "shared", cpus: 1, memory_mb: 256 },
      env: { TOKEN: canary, [canary.replace(/-/g, "_")]: "1" },
      services: [],
      entrypoint: [canary],
      command: [canary],
      machine: { files: [{ guest_path: "/canary", raw_value: "", mode: 0o600 }] },
      waitTimeoutS: 1,
    });
    await setCurrentRelease(tx, id, release!);
    await announceApp(tx, id);
    await announceHostname(tx, "secretive.localhost");
  });
  const redis = connectRedis(server.urlOf("api"));
  await redis.connect();
  const publisher = new Publisher({ store, redis, key: null, log: () => {} });
  await publisher.start();
  while (await store.read(outboxDepth) > 0) await Bun.sleep(5);
  await publisher.stop();
  redis.disconnect();

  const admin = new Redis(server.urlOf("admin"));
  const keys = await admin.keys("*");
  const all = await Promise.all(keys.map((key) => admin.dumpBuffer(key)));
  const events = await admin.xrange("godwit:state:global", "-", "+");
  admin.disconnect();
  expect(keys).toEqual(["godwit:state:global"]);
  expect(JSON.stringify(events)).toContain("secretive");
  expect(JSON.stringify(events)).not.toContain("canary");
  for (const dump of all) expect(dump!.includes("canary")).toBe(false);
});

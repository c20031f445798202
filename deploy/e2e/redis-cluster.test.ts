/** The state streams in a Cluster, on different servers: an edge follows all of them, also after one of the servers died. */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { GLOBAL_STREAM, logStream, regionStream } from "../../control/contract/events.ts";
import { connectLogRedis } from "../../control/publish/redis.ts";
import { connectRedis as connectWorker } from "../../control/worker/redis.ts";
import { until } from "../../edge/edge.fixture.ts";
import { APP, Cleanups, TestPublisher } from "../../edge/replica/replica.fixture.ts";
import { startRedisCluster } from "../servers/redis-cluster.ts";
import {
  comeToRest,
  folderAndPasswords,
  rowsOf,
  untilHealed,
  untilMoreChanges,
  WAIT_MS,
} from "./replication/failover.fixture.ts";
import { Owners } from "./replication/owners.fixture.ts";

/** Of the three equal shares of the slots, the global stream lies in the second, these in the third and the first. */
const [REGION, OTHER_REGION] = ["iad", "fra"] as const;
const NODE_TIMEOUT_MS = 1_000;
const CHANGES = 30;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

async function aCluster() {
  const { folder, passwords } = folderAndPasswords(cleanups, "cluster");
  const redis = await startRedisCluster({ folder, passwords, nodeTimeoutMs: NODE_TIMEOUT_MS });
  cleanups.add(() => redis.stop());
  return { folder, redis };
}

test(
  "a Cluster: streams on three servers reach an edge, and one server that is killed takes nothing with it",
  async () => {
    const { folder, redis } = await aCluster();
    const streams = [GLOBAL_STREAM, regionStream(REGION), regionStream(OTHER_REGION)];
    expect(new Set(await Promise.all(streams.map((stream) => redis.ownerPort(stream)))).size).toBe(3);

    const owners = await Owners.start({
      api: redis.urlOf("api"),
      worker: redis.urlOf("worker"),
      region: REGION,
    });
    cleanups.add(() => owners.stop());
    // A host of a third stream, which is not touched by what follows.
    const other = connectWorker(redis.urlOf("worker"), () => {}, { stream: regionStream(OTHER_REGION) });
    cleanups.add(() => other.disconnect());
    await new Promise<void>((resolve) => other.once("ready", () => resolve()));
    const host = new TestPublisher(other, "worker:h2", undefined, OTHER_REGION);
    await host.host();
    await host.digest();

    const { replica } = cleanups.follow({ file: join(folder, "replica.sqlite"), url: redis.urlOf("edge") });
    owners.beginLoad();
    await until(() => owners.changes > CHANGES && rowsOf(replica).includes("hosts h2"), WAIT_MS);

    const killed = await redis.killOwner(GLOBAL_STREAM);
    await until(async () => await redis.ownerPort(GLOBAL_STREAM) !== killed, WAIT_MS);
    await untilMoreChanges(owners, CHANGES);
    await comeToRest(owners);

    const rows = [...await owners.rows(), "hosts h2"].sort();
    await untilHealed(replica, rows);
    expect(Object.keys(replica.status().streams).sort()).toEqual([...streams].sort());
    // News that come one after the other, each within the wait for the others'.
    for (const state of ["cordoned", "ready"] as const) {
      await host.publish("hosts", "h2", { id: "h2", region: OTHER_REGION, state, cpus: 1, memory_mb: 1 });
      await until(
        () =>
          replica.stored().some(({ key, row }) => key === "h2" && (row as { state: string }).state === state),
        WAIT_MS,
      );
    }
  },
  240_000,
);

test("a Cluster: log streams of many apps lie on different servers", async () => {
  const { redis } = await aCluster();
  const logs = connectLogRedis(redis.urlOf("worker"));
  cleanups.add(() => logs.disconnect());
  await logs.connect();
  const streams = Array.from(
    { length: 12 },
    (_, n) => logStream(APP.slice(0, -2) + String(n).padStart(2, "0")),
  );
  const ports = await Promise.all(streams.map((stream) => redis.ownerPort(stream)));
  expect(new Set(ports).size).toBe(3);
  for (const stream of streams) {
    const [[error] = [null]] = await logs.pipeline().xadd(stream, "*", "line", stream).exec() ?? [];
    expect(error).toBeNull();
  }
  const reader = connectLogRedis(redis.urlOf("api"));
  cleanups.add(() => reader.disconnect());
  await reader.connect();
  for (const stream of streams) {
    expect((await reader.xrevrange(stream, "+", "-"))[0]?.[1]).toEqual(["line", stream]);
  }
}, 120_000);

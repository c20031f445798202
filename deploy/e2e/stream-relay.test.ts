/** A region's relay behind a Sentinel that fails over, and through a Cluster. */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { until } from "../../edge/edge.fixture.ts";
import { Cleanups } from "../../edge/replica/replica.fixture.ts";
import { SetBackRedis, startRelay, untilSame } from "../../edge/stream-relay/relay.fixture.ts";
import { startRedisCluster } from "../servers/redis-cluster.ts";
import { startRedisSentinel } from "../servers/redis-sentinel.ts";
import {
  comeToRest,
  folderAndPasswords,
  rowsOf,
  untilHealed,
  untilItHas,
  untilMoreChanges,
  WAIT_MS,
} from "./replication/failover.fixture.ts";
import { Owners } from "./replication/owners.fixture.ts";

const CHANGES = 40;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

test(
  "an upstream that fails over under load reaches the edges of a region with every acknowledged row",
  async () => {
    const { folder, passwords } = folderAndPasswords(cleanups, "stream-relay");
    const upstream = await startRedisSentinel({
      folder: join(folder, "upstream"),
      passwords,
      downAfterMs: 500,
    });
    cleanups.add(() => upstream.stop());
    const regional = await SetBackRedis.start(cleanups);
    const owners = await Owners.start({ api: upstream.urlOf("api"), worker: upstream.urlOf("worker") });
    cleanups.add(() => owners.stop());
    const { relay } = startRelay(cleanups, upstream.urlOf("edge"), regional.relayUrl);
    const { replica } = cleanups.follow({ file: join(folder, "replica.sqlite"), url: regional.edgeUrl });

    owners.beginLoad();
    await until(() => owners.changes > CHANGES && rowsOf(replica).length > CHANGES, WAIT_MS);
    const killed = await upstream.killPrimary(async () => {
      await untilMoreChanges(owners, CHANGES);
    });
    await until(async () => await upstream.primaryPort() !== killed, WAIT_MS);
    await untilMoreChanges(owners, CHANGES);
    await comeToRest(owners);

    const rows = await owners.rows();
    await untilHealed(replica, rows);
    expect(relay.status().reconnects).toBeGreaterThan(0);
    // Who begins only now finds all of it in the region's own streams.
    const late = cleanups.follow({ file: join(folder, "late.sqlite"), url: regional.edgeUrl }).replica;
    await untilItHas(late, rows);
  },
  240_000,
);

test("relays copy into a Cluster and out of one", async () => {
  const { folder, passwords } = folderAndPasswords(cleanups, "stream-relay");
  const cluster = await startRedisCluster({
    folder: join(folder, "cluster"),
    passwords,
    nodeTimeoutMs: 2_000,
  });
  cleanups.add(() => cluster.stop());
  const [source, end] = [await SetBackRedis.start(cleanups), await SetBackRedis.start(cleanups)];
  const streams = [GLOBAL_STREAM, regionStream("iad"), regionStream("fra")];
  startRelay(cleanups, source.edgeUrl, cluster.urlOf("admin"));
  startRelay(cleanups, cluster.urlOf("edge"), end.relayUrl);
  for (let n = 0; n < 50; n++) {
    for (const stream of streams) await source.admin.xadd(stream, "*", "owner", "api", "batch", `${n}`);
  }
  await untilSame(source.admin, end.admin, ...streams);
}, 120_000);

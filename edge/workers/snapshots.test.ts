/** Snapshots in a replicator's process: served from its start, and never in the way of what it is for. */
import { afterEach, expect, test } from "bun:test";
import { createServer } from "node:net";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EdgeRows } from "../../control/contract/process-config.ts";
import { freePort } from "../../deploy/servers/child.ts";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import { until } from "../edge.fixture.ts";
import { anySnapshot, cleanedUp, cleanUp, newFolder } from "../snapshot/snapshot.fixture.ts";
import { SnapshotFolder, snapshotFolderOf } from "../snapshot/folder.ts";
import { forkReplicator } from "./child-process.ts";

afterEach(cleanUp);

async function startReplicator(more: Partial<EdgeRows & { from: "redis" }>) {
  const server = await startOwnRedis();
  cleanedUp(() => server.stop());
  const replica_file = join(newFolder(), "replica.sqlite");
  const folder = new SnapshotFolder(snapshotFolderOf(replica_file));
  const snapshot = anySnapshot(1_000);
  mkdirSync(folder.path);
  writeFileSync(join(folder.path, "build-1.zst"), snapshot.packed);
  folder.add(join(folder.path, "build-1.zst"), snapshot.manifest);
  const child = forkReplicator();
  cleanedUp(async () => {
    child.send({ type: "stop" });
    expect(await child.exited).toBe("exit status 0");
  });
  const replicator = { caughtUp: false, snapshots: null as Record<string, unknown> | null, snapshot };
  child.onMessage((message) => {
    if (message.type === "caught_up") replicator.caughtUp = true;
    if (message.type === "heartbeat") {
      replicator.snapshots = message.status.details.snapshots as Record<string, unknown>;
    }
  });
  const rows = { from: "redis" as const, redis_url: server.urlOf("edge"), replica_file, ...more };
  child.send({ type: "settings", settings: { rows, regions: [], logLevel: "silent" } });
  return replicator;
}

test("a replicator serves the snapshots that are there, and says so", async () => {
  const port = await freePort();
  const replicator = await startReplicator({ snapshots_listen: { address: "127.0.0.1", port } });
  await until(() => replicator.caughtUp && replicator.snapshots?.port === port);
  const response = await fetch(`http://127.0.0.1:${port}/replica/snapshots`);
  expect(await response.json()).toEqual({ snapshots: [replicator.snapshot.manifest] });
  expect(replicator.snapshots).toMatchObject({
    ...{ newest: { id: replicator.snapshot.manifest.id }, building: false, failed: 0, listen_error: null },
  });
}, 30_000);

test("a replicator without a listener has no part in snapshots", async () => {
  const replicator = await startReplicator({});
  await until(() => replicator.caughtUp);
  expect(replicator.snapshots).toBeNull();
}, 30_000);

test("a replicator follows on where its listener lacks a token, and serves once there is one", async () => {
  const port = await freePort();
  const snapshot_token_file = join(newFolder(), "token");
  const replicator = await startReplicator({
    snapshots_listen: { address: "0.0.0.0", port },
    snapshot_token_file,
  });
  await until(() => replicator.caughtUp && replicator.snapshots?.listen_error !== null);
  expect(String(replicator.snapshots!.listen_error)).toContain("token file");
  writeFileSync(snapshot_token_file, "t".repeat(32), { mode: 0o600 });
  await until(() => replicator.snapshots?.port === port, 30_000);
}, 60_000);

test(
  "a replicator follows on while its listener's address is taken, and serves once it is free",
  async () => {
    const taken = createServer();
    const port = await new Promise<number>((resolve) =>
      taken.listen(0, "127.0.0.1", () => resolve((taken.address() as { port: number }).port))
    );
    const replicator = await startReplicator({ snapshots_listen: { address: "127.0.0.1", port } });
    await until(() => replicator.caughtUp && replicator.snapshots?.listen_error != null);
    taken.close();
    await until(() => replicator.snapshots?.port === port, 30_000);
  },
  60_000,
);

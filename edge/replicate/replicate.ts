/**
 * A replicator alone (`edge/main.ts replica`): the same replica as an edge's, with nobody who routes by it. For machines
 * that read the file themselves, for serving snapshots to others, for trying a fleet's Redis out, and for measurements.
 */
import process from "node:process";
import type { Logger } from "pino";
import { openQueries, openReplica, openSnapshots, pageOf, statusOf } from "../workers/open-replica.ts";
import { untilCaughtUp } from "../workers/until-caught-up.ts";
import type { RowChange } from "../routes/route-table.ts";
import { parseRedisUrl, shownRedis } from "../../control/contract/redis-url.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type AdminListener, listenAdmin } from "./admin-listener.ts";
import type { ReplicateOptions } from "./options.ts";
import { replicaPage } from "./replica-pages.ts";

/** Runs until a signal ends the process, with 0. Throws where it cannot begin. */
export async function replicate(
  { settings, admin, json }: ReplicateOptions,
  runtime: Runtime,
  log: Logger,
): Promise<void> {
  const startedMs = performance.now();
  const say = (event: Record<string, unknown>, words: string) =>
    console.log(json ? JSON.stringify(event) : words);
  const snapshots = openSnapshots(settings.rows, log);
  const queries = openQueries(settings.rows, log, {
    page: () => pageOf(status()),
    onListening: (port) => say({ event: "queries", port }, "answering queries"),
  });
  const onChanges = (changes: RowChange[]) => {
    snapshots?.changed(changes.length);
    queries?.changed(changes);
  };
  const onTakeOver = () => queries?.takenOver();
  const replica = openReplica(settings, runtime.openDatabase, log, { onChanges, onTakeOver });
  let isCaughtUp = false;
  const status = () => statusOf(replica, snapshots, queries);
  let listener: AdminListener | null = null;
  try {
    if (admin !== null) {
      listener = await listenAdmin(
        admin,
        (method, path) => replicaPage(method, path, { status, caughtUp: () => isCaughtUp }),
      );
    }
  } catch (error) {
    await replica.stop();
    throw error;
  }
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info({ signal }, "ending");
      ended.resolve();
    });
  }
  // A terminal that is closed is no reason to end, and a log to open anew there is none.
  process.on("SIGHUP", () => {});
  const host = shownRedis(parseRedisUrl(settings.rows.redis_url));
  void untilCaughtUp(replica).then(() => {
    isCaughtUp = true;
    snapshots?.caughtUp();
    const ms = Math.round(performance.now() - startedMs);
    const rows = rowsOf(replica.status().tables);
    const { streams, last_bootstrap } = replica.status();
    say(
      { event: "caught_up", rows, ms, streams, snapshot_from: last_bootstrap?.from ?? null },
      `${settings.rows.replica_file} has caught up with ${host}: ${rows} rows after ${ms} ms`,
    );
  });
  replica.start();
  snapshots?.start();
  queries?.start();
  say({ event: "started", pid: process.pid, admin_port: listener?.port ?? null }, `following ${host}`);
  await ended.promise;
  await listener?.stop();
  await Promise.all([replica.stop(), snapshots?.stop(), queries?.stop()]);
  say({ event: "stopped" }, "stopped");
}

function rowsOf(tables: Record<string, { rows: number }>): number {
  return Object.values(tables).reduce((sum, { rows }) => sum + rows, 0);
}

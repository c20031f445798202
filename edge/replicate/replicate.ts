/**
 * A replicator alone (`edge/main.ts replica`): the same replica as an edge's, with nobody who routes by it. For machines
 * that read the file themselves, for serving snapshots to others, for trying a fleet's Redis out, and for measurements.
 */
import process from "node:process";
import type { Logger } from "pino";
import { openReplica, openSnapshots, statusOf } from "../workers/open-replica.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type AdminListener, listenReplicaAdmin } from "./admin-listener.ts";
import type { ReplicateOptions } from "./options.ts";

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
  const onChanges = (changes: readonly unknown[]) => snapshots?.changed(changes.length);
  const replica = openReplica(settings, runtime.openDatabase, log, { onChanges });
  let isCaughtUp = false;
  const status = () => statusOf(replica, snapshots);
  let listener: AdminListener | null = null;
  try {
    if (admin !== null) listener = await listenReplicaAdmin(admin, { status, caughtUp: () => isCaughtUp });
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
  const { host } = new URL(settings.rows.redis_url);
  let caughtUp = replica.caughtUp();
  replica.start();
  snapshots?.start();
  const untilCaughtUp = async () => {
    // It says so where the streams could not be read, too.
    for (;;) {
      await caughtUp;
      await new Promise((resolve) => setImmediate(resolve));
      if (replica.status().connected) break;
      caughtUp = replica.caughtUp();
    }
    isCaughtUp = true;
    snapshots?.caughtUp();
    const ms = Math.round(performance.now() - startedMs);
    const rows = rowsOf(replica.status().tables);
    const { streams, last_bootstrap } = replica.status();
    say(
      { event: "caught_up", rows, ms, streams, snapshot_from: last_bootstrap?.from ?? null },
      `${settings.rows.replica_file} has caught up with ${host}: ${rows} rows after ${ms} ms`,
    );
  };
  void untilCaughtUp();
  say({ event: "started", pid: process.pid, admin_port: listener?.port ?? null }, `following ${host}`);
  await ended.promise;
  await listener?.stop();
  await Promise.all([replica.stop(), snapshots?.stop()]);
  say({ event: "stopped" }, "stopped");
}

function rowsOf(tables: Record<string, { rows: number }>): number {
  return Object.values(tables).reduce((sum, { rows }) => sum + rows, 0);
}

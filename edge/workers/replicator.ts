/** The replicator's process: follows the state streams into the replica's file, and names what has changed. */
import { existsSync } from "node:fs";
import type { Logger } from "pino";
import type { StateStreams } from "../replica/ports.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { CountedStreams } from "./counted-streams.ts";
import type { FromReplicator, ReplicatorSettings, ToReplicator } from "./messages.ts";
import { NewsFeed } from "./news-feed.ts";
import { openQueries, openReplica, openSnapshots, pageOf, statusOf } from "./open-replica.ts";
import { untilCaughtUp } from "./until-caught-up.ts";

export const HEARTBEAT_INTERVAL_MS = 1_000;

/** @param onMessage calls for each message of the parent, from the one after the settings on */
export async function runReplicator(
  settings: ReplicatorSettings,
  runtime: Runtime,
  log: Logger,
  onMessage: (listener: (message: ToReplicator) => void) => void,
): Promise<void> {
  const tell = (message: FromReplicator) => void process.send?.(message);
  const feed = new NewsFeed((news) => tell({ type: "news", news }));
  const snapshots = openSnapshots(settings.rows, log);
  const queries = openQueries(settings.rows, log, {
    page: () => pageOf(statusOf(replica, snapshots, queries)),
  });
  let streams: CountedStreams | null = null;
  const around = (inner: StateStreams) => streams = new CountedStreams(inner);
  const heard = {
    onChanges(changes: RowChange[]) {
      for (const { table, key } of changes) feed.pending.add(table, key);
      feed.flush();
      snapshots?.changed(changes.length);
      queries?.changed(changes);
    },
    onTakeOver() {
      feed.pending.addTakenOver();
      feed.flush();
      queries?.takenOver();
    },
  };
  const replica = openReplica(settings, runtime.openDatabase, log, heard, around);
  const end = (status: number) =>
    void Promise.all([replica.stop(), snapshots?.stop(), queries?.stop()]).then(() => process.exit(status));
  onMessage((message) => {
    if (message.type === "stop") end(0);
    else if (message.type === "more") feed.more(message.taken);
  });
  process.once("disconnect", () => end(1));
  const heartbeat = () => {
    const status = statusOf(replica, snapshots, queries);
    const { connected } = status;
    const progress = streams?.progress ?? { answered: 0, taken: 0 };
    const beat = { progress, connected, newsHeld: feed.held };
    tell({ type: "heartbeat", status, beat });
  };
  const timer = setInterval(() => {
    if (existsSync(settings.rows.replica_file)) return heartbeat();
    // It would write on into a file without a name, which nobody finds after the next start.
    log.error({ file: settings.rows.replica_file }, "the replica's file is gone; beginning anew");
    clearInterval(timer);
    end(1);
  }, HEARTBEAT_INTERVAL_MS);
  const caughtUp = untilCaughtUp(replica, heartbeat);
  replica.start();
  snapshots?.start();
  queries?.start();
  await caughtUp;
  tell({ type: "caught_up" });
  snapshots?.caughtUp();
}

/** The row source that a configuration names. */
import type { Logger } from "pino";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { pause } from "../replica/pause.ts";
import type { SnapshotSources } from "../replica/ports.ts";
import { redisStreams } from "../replica/redis-streams.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { GivenRows } from "./given-rows.ts";
import { ReplicaRows } from "./replica-rows.ts";
import type { RowSource } from "./row-source.ts";
import { RowsFile } from "./rows-file.ts";

export interface RowSourceHost {
  readonly runtime: Runtime;
  readonly log: Logger;
  readonly onChanges: (changes: RowChange[]) => void;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
}

export function openRows(config: EdgeConfig, host: RowSourceHost): RowSource {
  const { rows, regions } = config;
  const { runtime, log, onChanges, nowMs, wallMs, random } = host;
  switch (rows.from) {
    case "given":
      return new GivenRows(rows.rows);
    case "file":
      return new RowsFile({ file: rows.file, log, onChanges, nowMs });
    case "redis":
      return new ReplicaRows({
        world: {
          streams: redisStreams(rows.redis_url),
          files: new FolderFiles(rows.replica_file, runtime.openDatabase),
          snapshots: NO_SNAPSHOTS,
          ...{ nowMs, wallMs, random, pause },
        },
        regions,
        apiPublicKey: rows.api_public_key ?? null,
        log,
        onChanges,
      });
  }
}

const NO_SNAPSHOTS: SnapshotSources = {
  list: () => Promise.resolve([]),
  fetch: () => Promise.reject(new Error("nobody offers snapshots")),
};

/** The row source that a configuration names. */
import type { Logger } from "pino";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { openReplicaStore } from "../replica/replica-store.ts";
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
    case "redis": {
      const store = openReplicaStore(rows.replica_file, runtime.openDatabase, (reason) => {
        log.error({ file: rows.replica_file, reason }, "replica file set aside; building it anew");
      });
      return new ReplicaRows({
        redisUrl: rows.redis_url,
        store,
        regions,
        log,
        onChanges,
        nowMs,
        wallMs,
        random,
      });
    }
  }
}

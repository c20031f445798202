/** The row source that a configuration names. */
import type { Logger } from "pino";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import type { RowChange } from "../routes/route-table.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { forkReplicator } from "../workers/child-process.ts";
import { GivenRows } from "./given-rows.ts";
import { ReplicatedRows } from "./replicated-rows.ts";
import type { RowSource } from "./row-source.ts";
import { RowsFile } from "./rows-file.ts";

export interface RowSourceHost {
  readonly runtime: Runtime;
  readonly log: Logger;
  readonly onChanges: (changes: RowChange[]) => void;
  /** Keys of the rows that are in memory. */
  readonly heldKeys: (table: RowChange["table"]) => Iterable<string>;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export function openRows(config: EdgeConfig, host: RowSourceHost): RowSource {
  const { rows, regions } = config;
  const { runtime, log, onChanges, heldKeys, nowMs, random } = host;
  switch (rows.from) {
    case "given":
      return new GivenRows(rows.rows, onChanges);
    case "file":
      return new RowsFile({ file: rows.file, log, onChanges, nowMs });
    case "redis":
      return new ReplicatedRows({
        fork: forkReplicator,
        settings: { rows, regions, logLevel: log.level },
        openDatabase: runtime.openDatabase,
        log,
        onChanges,
        heldKeys,
        nowMs,
        random,
      });
  }
}

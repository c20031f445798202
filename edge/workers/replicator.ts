/** The replicator's process: follows the state streams into the replica's file, and names what has changed. */
import type { Logger } from "pino";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { CATCH_UP_MS_MAX } from "../edge.ts";
import { openRows } from "../rows/open-rows.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { FromReplicator, ToWorker } from "./messages.ts";

export const STATUS_INTERVAL_MS = 1_000;

export async function runReplicator(config: EdgeConfig, runtime: Runtime, log: Logger): Promise<void> {
  const tell = (message: FromReplicator) => void process.send?.(message);
  const rows = openRows(config, {
    runtime,
    log,
    onChanges: (changes) => tell({ type: "changed", rows: changes.map(({ table, key }) => [table, key]) }),
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    random: Math.random,
  });
  const end = (status: number) => void rows.stop().then(() => process.exit(status));
  process.on("message", (message: ToWorker) => {
    if (message.type === "stop") end(0);
  });
  process.once("disconnect", () => end(1));
  const caughtUp = rows.caughtUp();
  rows.start();
  const late = new Promise<void>((resolve) => setTimeout(resolve, CATCH_UP_MS_MAX));
  await Promise.race([caughtUp, late]);
  tell({ type: "rows_status", status: rows.status() });
  tell({ type: "caught_up" });
  setInterval(() => tell({ type: "rows_status", status: rows.status() }), STATUS_INTERVAL_MS);
}

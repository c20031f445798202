/** The program of a replicator's process. Its settings come over the channel from the edge that forked it. */
import process from "node:process";
import { pino } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import type { ReplicatorSettings, ToReplicator } from "./messages.ts";
import { runReplicator } from "./replicator.ts";

// Signals of the terminal reach every process of its group; the edge is the one that answers them.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
const gone = () => process.exit(1);
process.once("disconnect", gone);
const listeners: ((message: ToReplicator) => void)[] = [];
const settings = await new Promise<ReplicatorSettings>((resolve) => {
  process.on("message", (message: ToReplicator) => {
    if (message.type === "settings") resolve(message.settings);
    else for (const listener of listeners) listener(message);
  });
});
process.off("disconnect", gone);
const log = pino(
  { name: "edge", base: { pid: process.pid, process: "replicator" }, level: settings.logLevel },
  pino.destination({ dest: 2, sync: true }),
);
try {
  await runReplicator(settings, await loadRuntime(), log, (listener) => listeners.push(listener));
} catch (error) {
  log.fatal({ err: messageOf(error) }, "the replicator cannot start");
  process.exit(1);
}

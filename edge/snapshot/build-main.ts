/** The program of a builder's process: builds one snapshot, says what became of it, and waits to be ended. */
import { constants, setPriority } from "node:os";
import process from "node:process";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import { buildSnapshot } from "./build.ts";
import type { FromBuilder, ToBuilder } from "./keeper.ts";

// Signals of the terminal reach every process of its group; the edge is the one that answers them.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.once("disconnect", () => process.exit(1));
const { replicaFile, tombstoneAgeMsMax } = await new Promise<ToBuilder>((resolve) => {
  process.once("message", resolve);
});
try {
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // It may not; then it is as important as others.
}
const tell = (message: FromBuilder) => void process.send!(message);
// Whoever hears it ends this process, or has ended, which ends the channel.
try {
  const { openDatabase } = await loadRuntime();
  const manifest = await buildSnapshot({
    ...{ replicaFile, tombstoneAgeMsMax, openDatabase, wallMs: () => Date.now() },
  });
  tell(manifest === null ? { type: "unchanged" } : { type: "built", manifest });
} catch (error) {
  const code = error instanceof GodwitError ? error.code : "replica.snapshot_build_failed";
  tell({ type: "failed", code, message: messageOf(error) });
}

/** The program of a process that runs statements, one at a time. It is killed where one takes too long or too much. */
import { constants, setPriority } from "node:os";
import process from "node:process";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { runStatement, type Statement } from "./run-statement.ts";
import type { FromRunner } from "./messages.ts";

// Signals of the terminal reach every process of its group; the edge is the one that answers them.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.once("disconnect", () => process.exit(1));
// A statement keeps this thread from noticing that.
new Worker(new URL("./orphan-watch.ts", import.meta.url), { type: "module" });
try {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
} catch {
  // It may not; then it is as important as others.
}
const tell = (message: FromRunner) => void process.send!(message);
process.on("message", (statement: Statement) => {
  try {
    tell({ type: "answer", answer: runStatement(statement) });
  } catch (error) {
    const known = error instanceof GodwitError ? error : new GodwitError(
      "query.runner_ended",
      `The statement was given up: ${messageOf(error)}`,
      { fault: "us" },
    );
    tell({ type: "failed", error: known.toWire() });
  }
});
tell({ type: "ready" });

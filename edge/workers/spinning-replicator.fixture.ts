/** For tests: in place of a replicator a process that is alive, keeps a core busy, and says nothing. */
import process from "node:process";

process.on("message", () => {
  for (;;);
});

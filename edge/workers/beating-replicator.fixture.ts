/** For tests: in place of a replicator a process with heartbeats from a timer, and answers of Redis that it never takes in. */
import process from "node:process";
import type { FromReplicator } from "./messages.ts";

const BEAT_INTERVAL_MS = 100;
const status = { from: "redis", connected: true, stale_ms: 0, quarantined: 0, gaps: 0, details: {} } as const;
let answered = 0;

process.on("message", () => {});
process.once("disconnect", () => process.exit(1));
setInterval(() => {
  const progress = { answered: ++answered, taken: 0 };
  const beat: FromReplicator = {
    type: "heartbeat",
    status,
    beat: { progress, connected: true, newsHeld: false },
  };
  process.send?.(beat);
}, BEAT_INTERVAL_MS);

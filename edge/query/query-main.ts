/** The program of the process that answers queries of a replica. Its replicator forks it, and it ends with that one. */
import process from "node:process";
import { pino } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { forkRunner } from "../workers/child-process.ts";
import type { FromQueryServer, QuerySettings, ToQueryServer } from "./messages.ts";
import { QUERY_LIMITS } from "./query-limits.ts";
import { QueryServer } from "./query-server.ts";

const COUNTS_INTERVAL_MS = 1_000;
const PAGE_MS_MAX = 3_000;
/** For its last words to leave. */
const FAREWELL_MS = 100;

// Signals of the terminal reach every process of its group; the edge is the one that answers them.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
const tell = (message: FromQueryServer) => {
  if (process.connected) process.send!(message);
};
let server: QueryServer | null = null;
const pages = new Map<number, (body: string) => void>();
let asks = 0;
const settings = await new Promise<QuerySettings>((resolve) => {
  process.once("disconnect", () => end(1));
  process.on("message", (message: ToQueryServer) => {
    if (message.type === "settings") resolve(message.settings);
    else if (message.type === "stop") end(0);
    else if (message.type === "status") pages.get(message.ask)?.(message.body);
    else {
      server?.changed(message.takenOver ? null : new Set(message.tables));
      tell({ type: "more" });
    }
  });
});
const log = pino(
  { name: "edge", base: { pid: process.pid, process: "queries" }, level: settings.logLevel },
  pino.destination({ dest: 2, sync: true }),
);
try {
  server = new QueryServer({
    ...{ file: settings.file, place: settings.place, log, fork: forkRunner },
    limits: { ...QUERY_LIMITS, ...settings.limits },
    page,
  });
  const port = await server.listen();
  tell({ type: "listening", port });
  setInterval(() => tell({ type: "counts", counts: server!.counts() }), COUNTS_INTERVAL_MS);
} catch (error) {
  tell({ type: "unusable", message: messageOf(error) });
  setTimeout(() => process.exit(1), FAREWELL_MS);
}

/** Its own processes first: one that is busy with a statement would not notice. */
function end(status: number): void {
  void (server?.stop() ?? Promise.resolve()).then(() => process.exit(status));
}

function page(): Promise<string> {
  const ask = asks++;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() =>
    reject(
      new GodwitError("query.replicator_silent", `The replicator has not answered for ${PAGE_MS_MAX} ms`, {
        fault: "us",
        retryable: true,
        hint: "its log says what it does; an edge replaces one that hangs",
      }),
    ), PAGE_MS_MAX);
  pages.set(ask, resolve);
  tell({ type: "status", ask });
  return promise.finally(() => {
    clearTimeout(timer);
    pages.delete(ask);
  });
}

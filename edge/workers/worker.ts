/** A worker's side: an edge on shared ports that does what its supervisor says, and drains when that one is gone. */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { type Edge, startEdge } from "../edge.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { RowSourceHost } from "../rows/open-rows.ts";
import { SharedRows } from "../rows/shared-rows.ts";
import { type FromWorker, type Page, type ToWorker, WORKER_VARIABLE } from "./messages.ts";

export function isWorker(): boolean {
  return process.env[WORKER_VARIABLE] !== undefined && process.send !== undefined;
}

export async function runWorker(config: EdgeConfig, runtime: Runtime, log: Logger): Promise<void> {
  // Signals of the terminal reach every process of its group; the supervisor is the one that answers them.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  const tell = (message: FromWorker) => void process.send?.(message);
  let shared: SharedRows | null = null;
  // From the first moment: what the replicator says before the rows are read is in its file by then.
  process.on("message", (message: ToWorker) => {
    if (message.type === "news" || message.type === "caught_up" || message.type === "heartbeat") {
      shared?.heard(message);
    }
  });
  const { rows } = config;
  const openRows = ({ onChanges, heldKeys, nowMs, random }: RowSourceHost) => {
    const file = (rows as { replica_file: string }).replica_file;
    const askForMore = (taken: number) => tell({ type: "more", taken });
    const onUnreadable = () => tell({ type: "unreadable" });
    const { openDatabase } = runtime;
    return shared = new SharedRows({
      ...{ file, openDatabase, onChanges, heldKeys, askForMore, onUnreadable, log, nowMs, random },
    });
  };
  const edge = await startEdge({ ...config, admin: null }, runtime, log, {
    sharedPorts: true,
    ...(rows.from === "redis" ? { openRows } : {}),
  });
  process.on("message", (message: ToWorker) => {
    obey(edge, message, tell).catch((error) =>
      log.error({ err: messageOf(error) }, "a worker's order failed")
    );
  });
  process.once("disconnect", () => {
    log.error("the supervisor is gone; draining");
    void edge.stop().then(() => process.exit(1));
  });
  tell({ type: "listening", at: edge.listeners.map(({ at }) => at) });
}

async function obey(edge: Edge, message: ToWorker, tell: (message: FromWorker) => void): Promise<void> {
  switch (message.type) {
    case "steer":
      for (const { at, program } of message.ports) {
        edge.listeners.find((listener) => listener.at === at)?.steer(Buffer.from(program, "base64"));
      }
      return tell({ type: "steered" });
    case "retire": {
      const drained = edge.retire(message.drainMsMax);
      tell({ type: "closed" });
      await drained;
      return process.exit(0);
    }
    case "stop":
      await edge.stop();
      return process.exit(0);
    case "page":
      return tell({ type: "page", ask: message.ask, page: await pageOf(edge, message.path) });
  }
}

async function pageOf(edge: Edge, path: string): Promise<Page> {
  const response = await edge.adminPages.request(`http://admin${path}`);
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "text/plain",
    body: await response.text(),
  };
}

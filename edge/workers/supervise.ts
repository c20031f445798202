/** The supervisor as a process: forks this same program as workers, and answers signals and the admin listener. */
import { createServer } from "node:net";
import process from "node:process";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { DRAIN_MS_MAX } from "../edge.ts";
import { listenAdmin } from "./admin-server.ts";
import { forkReplicator, forkWorker } from "./child-process.ts";
import { NewsReceipts } from "../rows/news-weight.ts";
import type { FromReplicator, ReplicatorSettings } from "./messages.ts";
import { ReplicatorKeeper, withReplicator } from "./replicator-keeper.ts";
import { Supervisor } from "./supervisor.ts";

/** How long connections of a worker that was replaced may live, where the configuration does not say. */
export const RETIRED_DRAIN_MS_MAX = 300_000;

/**
 * @param program the edge's own main module, started anew with the same arguments for each worker
 * @param readConfig reads the configuration again, on SIGHUP
 */
export async function supervise(
  config: EdgeConfig,
  readConfig: () => Promise<EdgeConfig>,
  program: string,
  log: Logger,
): Promise<void> {
  for (const { address, port } of config.listeners) await refuseSharedPort(address, port);
  const supervisor = new Supervisor({
    workers: config.workers ?? 1,
    fork: (worker) => forkWorker(program, worker),
    log,
    nowMs: () => performance.now(),
    random: Math.random,
    drainMsMax: config.drain_s === undefined ? RETIRED_DRAIN_MS_MAX : config.drain_s * 1_000,
    stopMsMax: DRAIN_MS_MAX,
    onUnreadable: () => replicator?.unreadable(),
  });
  const settings = settingsOf(config, log);
  const replicator = settings === null ? null : new ReplicatorKeeper({
    fork: forkReplicator,
    settings,
    passOn: (message) => passOn(message),
    log,
    nowMs: () => performance.now(),
    random: Math.random,
  });
  const receipts = new NewsReceipts((taken) => replicator?.more(taken));
  const passOn = (message: FromReplicator) => {
    if (message.type === "heartbeat" && replicator !== null) {
      const status = withReplicator(message.status, replicator.status());
      return supervisor.tellAll({ ...message, status });
    }
    if (message.type !== "news") return supervisor.tellAll(message);
    supervisor.tellNews(message.news);
    receipts.add(message.news);
    receipts.settle();
  };
  const stop = () => {
    log.info("draining");
    void supervisor.stop().then(() => replicator?.stop()).then(() => process.exit(0));
  };
  const replace = async () => {
    log.info("replacing the workers");
    const changed = await readConfig().then((config) => settingsOf(config, log), (error) => {
      log.error({ err: messageOf(error) }, "the configuration cannot be used; the replicator keeps its own");
      return settings;
    });
    if (changed !== null) await replicator?.restart(changed);
    await supervisor.restart();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop);
  process.on("SIGHUP", () => {
    void replace();
  });
  await replicator?.start();
  await supervisor.start();
  if (config.admin !== null) await listenAdmin(supervisor, config.admin);
  log.info({ workers: config.workers }, "edge listening");
}

function settingsOf({ rows, regions }: EdgeConfig, log: Logger): ReplicatorSettings | null {
  return rows.from === "redis" ? { rows, regions, logLevel: log.level } : null;
}

/** Workers share their ports with anybody who asks the kernel for it: another edge must not be one of them by accident. */
function refuseSharedPort(address: string, port: number): Promise<void> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(
        new GodwitError("edge.port_in_use", `Cannot listen on ${address}:${port}: ${cause.message}`, {
          fault: "client",
          hint: "Something else has this port, perhaps another edge.",
          cause,
        }),
      );
    });
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

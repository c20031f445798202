/** The supervisor as a process: forks this same program as workers, and answers signals and the admin listener. */
import { createServer } from "node:net";
import process from "node:process";
import type { Logger } from "pino";
import { GodwitError } from "../../control/contract/errors.ts";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { DRAIN_MS_MAX } from "../edge.ts";
import { listenAdmin } from "./admin-server.ts";
import { forkSelf } from "./child-process.ts";
import type { FromReplicator, FromWorker } from "./messages.ts";
import { ReplicatorKeeper } from "./replicator-keeper.ts";
import { Supervisor } from "./supervisor.ts";

/** How long connections of a worker that was replaced may live, where the configuration does not say. */
export const RETIRED_DRAIN_MS_MAX = 300_000;

/** @param program the edge's own main module, started anew with the same arguments for each worker */
export async function supervise(config: EdgeConfig, program: string, log: Logger): Promise<void> {
  for (const { address, port } of config.listeners) await refuseSharedPort(address, port);
  const supervisor = new Supervisor({
    workers: config.workers ?? 1,
    fork: (worker) => forkSelf<FromWorker>(program, String(worker)),
    log,
    nowMs: () => performance.now(),
    random: Math.random,
    drainMsMax: config.drain_s === undefined ? RETIRED_DRAIN_MS_MAX : config.drain_s * 1_000,
    stopMsMax: DRAIN_MS_MAX,
  });
  const replicator = config.rows.from !== "redis" ? null : new ReplicatorKeeper({
    fork: () => forkSelf<FromReplicator>(program, "replicator"),
    passOn: (message) => supervisor.tellAll(message),
    log,
    nowMs: () => performance.now(),
    random: Math.random,
  });
  const stop = () => {
    log.info("draining");
    void supervisor.stop().then(() => replicator?.stop()).then(() => process.exit(0));
  };
  const replace = async () => {
    log.info("replacing the workers");
    await replicator?.restart();
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

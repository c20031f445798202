/** The supervisor as a process: forks this same program as workers, and answers signals and the admin listener. */
import { fork } from "node:child_process";
import { createServer } from "node:net";
import process from "node:process";
import type { Logger } from "pino";
import { GodwitError } from "../../control/contract/errors.ts";
import type { EdgeConfig } from "../../control/contract/process-config.ts";
import { DRAIN_MS_MAX } from "../edge.ts";
import { listenAdmin } from "./admin-server.ts";
import { type FromWorker, WORKER_VARIABLE } from "./messages.ts";
import { Supervisor, type WorkerProcess } from "./supervisor.ts";

/** How long connections of a worker that was replaced may live, where the configuration does not say. */
export const RETIRED_DRAIN_MS_MAX = 300_000;

/** @param program the edge's own main module, started anew with the same arguments for each worker */
export async function supervise(config: EdgeConfig, program: string, log: Logger): Promise<void> {
  if (config.rows.from === "redis") {
    throw new GodwitError(
      "edge.config_invalid",
      "Cannot use configuration: workers need rows from a file yet",
      {
        fault: "us",
        hint: "Leave `workers` out, or give rows from a file.",
      },
    );
  }
  for (const { address, port } of config.listeners) await refuseSharedPort(address, port);
  const supervisor = new Supervisor({
    workers: config.workers ?? 1,
    fork: (worker) => forkWorker(program, worker),
    log,
    nowMs: () => performance.now(),
    random: Math.random,
    drainMsMax: config.drain_s === undefined ? RETIRED_DRAIN_MS_MAX : config.drain_s * 1_000,
    stopMsMax: DRAIN_MS_MAX,
  });
  const stop = () => {
    log.info("draining");
    void supervisor.stop().then(() => process.exit(0));
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, stop);
  process.on("SIGHUP", () => {
    log.info("replacing the workers");
    void supervisor.restart();
  });
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

function forkWorker(program: string, worker: number): WorkerProcess {
  const child = fork(program, process.argv.slice(2), {
    env: { ...process.env, [WORKER_VARIABLE]: String(worker) },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.on("error", () => {}); // "exit" says it
  return {
    pid: child.pid ?? 0,
    send: (message) => {
      if (child.connected) child.send(message);
    },
    kill: (signal) => void child.kill(signal),
    onMessage: (listener) => void child.on("message", (message) => listener(message as FromWorker)),
    exited: new Promise((resolve) =>
      child.once(
        "exit",
        (status, signal) => resolve(signal === null ? `exit status ${status}` : `signal ${signal}`),
      )
    ),
  };
}

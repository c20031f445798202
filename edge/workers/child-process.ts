/** A process of ours with a channel both ways; alike on Bun and on Deno. */
import { fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { QueryServerProcess, RunnerProcess } from "../query/messages.ts";
import type { BuilderProcess } from "../snapshot/keeper.ts";
import {
  type FromReplicator,
  type FromWorker,
  type ToReplicator,
  type ToWorker,
  WORKER_VARIABLE,
} from "./messages.ts";

export interface ChildProcess<To, From> {
  readonly pid: number;
  send(message: To): void;
  kill(signal: "SIGKILL"): void;
  onMessage(listener: (message: From) => void): void;
  /** Resolves to how it ended, in words. */
  readonly exited: Promise<string>;
}

export type WorkerProcess = ChildProcess<ToWorker, FromWorker>;
export type ReplicatorProcess = ChildProcess<ToReplicator, FromReplicator>;

const BUILDER_PROGRAM = fileURLToPath(new URL("../snapshot/build-main.ts", import.meta.url).href);
const QUERY_SERVER_PROGRAM = fileURLToPath(new URL("../query/query-main.ts", import.meta.url).href);
const RUNNER_PROGRAM = fileURLToPath(new URL("../query/runner-main.ts", import.meta.url).href);
const REPLICATOR_PROGRAM = fileURLToPath(new URL("./replicator-main.ts", import.meta.url).href);

/** The edge's own program, once more. */
export function forkWorker(program: string, worker: number): WorkerProcess {
  return forkProgram(program, process.argv.slice(2), { ...process.env, [WORKER_VARIABLE]: String(worker) });
}

export function forkReplicator(program: string = REPLICATOR_PROGRAM): ReplicatorProcess {
  return forkProgram(program, [], process.env);
}

export function forkSnapshotBuilder(program: string = BUILDER_PROGRAM): BuilderProcess {
  return forkProgram(program, [], process.env);
}

export function forkQueryServer(program: string = QUERY_SERVER_PROGRAM): QueryServerProcess {
  return forkProgram(program, [], process.env);
}

export function forkRunner(program: string = RUNNER_PROGRAM): RunnerProcess {
  return forkProgram(program, [], process.env);
}

function forkProgram<To, From>(
  program: string,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): ChildProcess<To, From> {
  const child = fork(program, argv, { env, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  child.on("error", () => {}); // "exit" says it
  return {
    pid: child.pid ?? 0,
    send: (message) => {
      if (child.connected) child.send(message as object);
    },
    kill: (signal) => void child.kill(signal),
    onMessage: (listener) => void child.on("message", (message) => listener(message as From)),
    exited: new Promise((resolve) =>
      child.once(
        "exit",
        (status, signal) => resolve(signal === null ? `exit status ${status}` : `signal ${signal}`),
      )
    ),
  };
}

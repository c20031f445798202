/** A process of ours that runs the edge's own program again, with a channel both ways; alike on Bun and on Deno. */
import { fork } from "node:child_process";
import process from "node:process";
import { type ToWorker, WORKER_VARIABLE } from "./messages.ts";

export interface ChildProcess<Message> {
  readonly pid: number;
  send(message: ToWorker): void;
  kill(signal: "SIGKILL"): void;
  onMessage(listener: (message: Message) => void): void;
  /** Resolves to how it ended, in words. */
  readonly exited: Promise<string>;
}

/** @param role a worker's number, or `REPLICATOR` */
export function forkSelf<Message>(program: string, role: string): ChildProcess<Message> {
  const child = fork(program, process.argv.slice(2), {
    env: { ...process.env, [WORKER_VARIABLE]: role },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.on("error", () => {}); // "exit" says it
  return {
    pid: child.pid ?? 0,
    send: (message) => {
      if (child.connected) child.send(message);
    },
    kill: (signal) => void child.kill(signal),
    onMessage: (listener) => void child.on("message", (message) => listener(message as Message)),
    exited: new Promise((resolve) =>
      child.once(
        "exit",
        (status, signal) => resolve(signal === null ? `exit status ${status}` : `signal ${signal}`),
      )
    ),
  };
}

/** A program of this folder as a process that answers each message with one; what it holds secret comes by message. */
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";
import type { Answer } from "./probe.ts";

const STOP_WAIT_MS_MAX = 15_000;

export interface Program<To> {
  readonly pid: number;
  /** @throws GodwitError `bench.child_failed` where it cannot do it, or ends meanwhile */
  ask(message: To): Promise<Answer>;
  stop(): Promise<void>;
}

export function startProgram<To extends { type: string }>(file: string, stopMessage: To): Program<To> {
  const waiting: ((answer: Answer) => void)[] = [];
  const child = Bun.spawn([process.execPath, join(import.meta.dir, file)], {
    stdio: ["ignore", "ignore", "inherit"],
    serialization: "json",
    ipc: (answer) => waiting.shift()?.(answer as Answer),
  });
  const ended = child.exited.then((status): Answer => ({ type: "failed", why: `it ended with ${status}` }));
  return {
    pid: child.pid,
    async ask(message) {
      const answered = new Promise<Answer>((resolve) => waiting.push(resolve));
      child.send(message);
      const answer = await Promise.race([answered, ended]);
      if (answer.type !== "failed") return answer;
      throw new GodwitError("bench.child_failed", `${file} could not ${message.type}: ${answer.why}`, {
        fault: "us",
        hint: "what it said stands above",
      });
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.send(stopMessage);
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WAIT_MS_MAX);
      await child.exited;
      clearTimeout(timer);
    },
  };
}

/** The program's side. A `stop` message ends it once `obey` is done with it. */
export function answerMessages<To extends { type: string }>(
  obey: (message: To) => Promise<Answer | void>,
): void {
  let turn: Promise<void> = Promise.resolve();
  process.on("message", (message: To) => {
    turn = turn.then(async () => {
      const answer = await obey(message).catch((error): Answer => ({ type: "failed", why: String(error) }));
      if (message.type === "stop") process.exit(0);
      process.send?.(answer ?? { type: "done" });
    });
  });
  process.once("disconnect", () => process.exit(1));
}

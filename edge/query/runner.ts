/**
 * A process that runs statements, seen from who asks. SQLite cannot be interrupted from its own thread, so what takes
 * longer or more than it may is killed with its process, and the next statement gets another one.
 */
import { readFileSync } from "node:fs";
import { GodwitError } from "../../control/contract/errors.ts";
import type { RunnerProcess } from "./messages.ts";
import { type Answer, memoryExceeded, type Statement } from "./run-statement.ts";

const START_MS_MAX = 15_000;
const MEMORY_LOOK_MS = 25;
const PAGE_KB = 4;

export interface RunnerOptions {
  readonly fork: () => RunnerProcess;
  readonly rssMbMax: number;
  readonly idleMsMax: number;
  readonly onKilled: () => void;
}

export class Runner {
  readonly #options: RunnerOptions;
  #process: Promise<RunnerProcess> | null = null;
  #child: RunnerProcess | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** Ends what runs. */
  #give: ((error: GodwitError) => void) | null = null;
  #heard: (answer: Answer) => void = () => {};

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /** One at a time. @throws GodwitError `query.*` */
  async run(statement: Statement, msMax: number, signal?: AbortSignal): Promise<Answer> {
    clearTimeout(this.#idle);
    const child = await (this.#process ??= this.#start());
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#heard = resolve;
    this.#give = reject;
    const kill = (error: GodwitError) => {
      this.#forget(child);
      reject(error);
    };
    const timer = setTimeout(() => {
      this.#options.onKilled();
      kill(timeExceeded(msMax));
    }, msMax);
    const look = setInterval(() => {
      if (rssMb(child.pid) <= this.#options.rssMbMax) return;
      this.#options.onKilled();
      kill(memoryExceeded());
    }, MEMORY_LOOK_MS);
    const leave = () => kill(ended("nobody waits for it any more"));
    signal?.addEventListener("abort", leave);
    if (signal?.aborted === true) leave();
    else child.send(statement);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      clearInterval(look);
      signal?.removeEventListener("abort", leave);
      this.#give = null;
      this.#idle = setTimeout(() => this.#forget(child), this.#options.idleMsMax);
    }
  }

  stop(): void {
    clearTimeout(this.#idle);
    if (this.#child !== null) this.#forget(this.#child);
  }

  async #start(): Promise<RunnerProcess> {
    const child = this.#child = this.#options.fork();
    const ready = Promise.withResolvers<void>();
    const timer = setTimeout(() => ready.reject(ended("its process did not start")), START_MS_MAX);
    child.onMessage((message) => {
      if (message.type === "ready") ready.resolve();
      if (this.#child !== child) return;
      if (message.type === "answer") this.#heard(message.answer);
      if (message.type === "failed") this.#give?.(GodwitError.fromWire(message.error));
    });
    void child.exited.then((how) => {
      ready.reject(ended(how));
      if (this.#child !== child) return;
      this.#child = this.#process = null;
      this.#give?.(ended(how));
    });
    try {
      await ready.promise;
      return child;
    } catch (error) {
      this.#forget(child);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #forget(child: RunnerProcess): void {
    if (this.#child === child) this.#child = this.#process = null;
    child.kill("SIGKILL");
  }
}

/** Resident, in MB; 0 where that cannot be told. */
function rssMb(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]) * PAGE_KB / 1_024;
  } catch {
    return 0;
  }
}

function timeExceeded(msMax: number): GodwitError {
  return new GodwitError("query.time_exceeded", `The statement took longer than ${msMax} ms and was ended`, {
    fault: "client",
    hint: "rows are found fast by `key`; other conditions read the whole table",
  });
}

function ended(how: string): GodwitError {
  return new GodwitError("query.runner_ended", `The statement was given up: ${how}`, {
    fault: "us",
    retryable: true,
    hint: "ask again",
  });
}

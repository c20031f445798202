/** The supervisor's side of the replicator: keeps one running, and passes on to the workers what it says. */
import type { Logger } from "pino";
import { GodwitError } from "../../control/contract/errors.ts";
import type { FromReplicator } from "./messages.ts";
import { crashesInARow, restartDelayMs } from "./restart-delay.ts";
import type { ChildProcess } from "./child-process.ts";

export interface ReplicatorKeeperOptions {
  readonly fork: () => ChildProcess<FromReplicator>;
  /** To every worker. */
  readonly passOn: (message: FromReplicator) => void;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export class ReplicatorKeeper {
  readonly #options: ReplicatorKeeperOptions;
  #child: ChildProcess<FromReplicator> | null = null;
  #crashes = 0;
  #stopping = false;

  constructor(options: ReplicatorKeeperOptions) {
    this.#options = options;
  }

  /**
   * Resolves once it has caught up, or has given up waiting for that.
   * @throws GodwitError `edge.worker_failed` where it ends before
   */
  async start(): Promise<void> {
    const { fork, log, nowMs, passOn } = this.#options;
    const child = this.#child = fork();
    const startedMs = nowMs();
    const caughtUp = new Promise<true>((resolve) =>
      child.onMessage((message) => {
        if (message.type === "caught_up") resolve(true);
        passOn(message);
      })
    );
    const exited = child.exited.then((how) => {
      if (this.#child === child) this.#child = null;
      return how;
    });
    const outcome = await Promise.race([caughtUp, exited]);
    if (outcome !== true) {
      throw new GodwitError("edge.worker_failed", `The replicator did not start: ${outcome}`, {
        fault: "us",
        hint: "What it said stands above.",
      });
    }
    log.info({ replicator_pid: child.pid }, "replicator has caught up");
    void exited.then((how) => this.#left(how, nowMs() - startedMs));
  }

  #left(how: string, livedMs: number): void {
    if (this.#stopping) return;
    const { log, random } = this.#options;
    this.#crashes = crashesInARow(this.#crashes, livedMs);
    const delayMs = restartDelayMs(this.#crashes, random);
    log.error({ how, delay_ms: Math.round(delayMs) }, "replicator ended; starting another, serving on");
    setTimeout(() => {
      if (!this.#stopping) void this.start().catch((error) => this.#left(error.message, 0));
    }, delayMs);
  }

  /** With new settings. The one that follows reads on from where this one ends. */
  async restart(): Promise<void> {
    await this.stop();
    this.#stopping = false;
    await this.start().catch((error) => this.#left(error.message, 0));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === null) return;
    child.send({ type: "stop" });
    await child.exited;
  }
}

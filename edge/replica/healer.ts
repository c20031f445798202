/** One generation at a time is built, after a delay that grows with each one that came to nothing or was wrong too. */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { healDelayMs } from "./heal-delay.ts";
import type { ReplicaWorld } from "./ports.ts";
import type { ReplicaTuning } from "./tuning.ts";

export interface HealerOptions {
  readonly world: Pick<ReplicaWorld, "nowMs" | "random" | "pause">;
  readonly tuning: ReplicaTuning;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Rejects where it came to nothing. */
  readonly heal: (why: string, useSnapshots: boolean) => Promise<void>;
}

export interface HealerStatus {
  readonly why: string;
  readonly attempts: number;
  /** Whose digest it waits for. */
  readonly waits_for: string | null;
  readonly last_error: string | null;
}

export class Healer {
  readonly #options: HealerOptions;
  /** Why another generation is wanted; null where none is. */
  #why: string | null = null;
  #attempts = 0;
  #healedMs = -Infinity;
  #lastError: string | null = null;
  waitsFor: string | null = null;
  ended: Promise<void> = Promise.resolve();

  constructor(options: HealerOptions) {
    this.#options = options;
  }

  get status(): HealerStatus | null {
    if (this.#why === null) return null;
    return {
      why: this.#why,
      attempts: this.#attempts,
      waits_for: this.waitsFor,
      last_error: this.#lastError,
    };
  }

  /** What is being built already will do. */
  ask(why: string, when: "soon" | "now" = "soon"): void {
    const { signal, world, tuning } = this.#options;
    if (this.#why !== null || signal.aborted) return;
    this.#why = why;
    if (world.nowMs() - this.#healedMs > tuning.healedAfterMs) this.#attempts = 0;
    this.ended = this.#run(why, when);
  }

  async #run(why: string, when: "soon" | "now"): Promise<void> {
    const { signal, world, tuning, log, heal } = this.#options;
    let delayMs = when === "now" ? 0 : healDelayMs(this.#attempts, tuning, world.random);
    for (;;) {
      log.warn({ why, delay_ms: Math.round(delayMs) }, "another generation of the replica will be built");
      await world.pause(delayMs, signal);
      if (signal.aborted) return;
      // A snapshot may be as wrong as we are: every second time the streams alone are asked.
      const useSnapshots = this.#attempts % 2 === 0;
      this.#attempts++;
      try {
        await heal(why, useSnapshots);
        break;
      } catch (error) {
        if (signal.aborted) return;
        this.#lastError = messageOf(error);
        log.error(
          { why, attempts: this.#attempts, err: this.#lastError },
          "a new generation came to nothing",
        );
      } finally {
        this.waitsFor = null;
      }
      delayMs = healDelayMs(this.#attempts, tuning, world.random);
    }
    this.#healedMs = world.nowMs();
    this.#lastError = null;
    this.#why = null;
  }
}

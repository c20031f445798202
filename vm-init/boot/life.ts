/** Where a machine stands between its first step and its power off, and who waits to hear of it. */
import type { BootStep, GuestExit, GuestStatus } from "../../control/contract/guest-api.ts";
import { messageOf } from "../system/error.ts";

export type Phase = GuestStatus["phase"];

const FAILURE_CHARS_MAX = 2_048;
const SKIP_CHARS_MAX = 200;

/** What a step answers that does not apply here. */
export class Skipped {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason.slice(0, SKIP_CHARS_MAX);
  }
}

export function skip(reason: string): Skipped {
  return new Skipped(reason);
}

export class Life {
  phase: Phase = "booting";
  pid: number | null = null;
  readonly steps: GuestStatus["steps"] = [];
  failure: GuestStatus["failure"] = null;
  exit: GuestExit | null = null;
  readonly #now: () => number;
  readonly #settled = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<GuestExit>();
  readonly #acknowledged = Promise.withResolvers<void>();
  /** The step that runs now: what fails, fails in it. */
  #step: BootStep = "run-config";

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Runs one step of the boot and takes its time. A skipped one answers undefined. */
  async step<T>(name: BootStep, run: () => T | Promise<T>): Promise<Exclude<T, Skipped>> {
    this.#step = name;
    const start = this.#now();
    const result = await run();
    const skipped = result instanceof Skipped ? result.reason : null;
    this.steps.push({ step: name, ms: Math.round((this.#now() - start) * 10) / 10, skipped });
    return (skipped === null ? result : undefined) as Exclude<T, Skipped>;
  }

  running(pid: number): void {
    this.pid = pid;
    this.#move("running");
  }

  stopping(): void {
    if (this.phase === "running") this.#move("stopping");
  }

  ended(exit: GuestExit): void {
    this.exit = exit;
    this.#move("exited");
    this.#exited.resolve(exit);
  }

  failed(error: unknown): NonNullable<GuestStatus["failure"]> {
    this.failure = { step: this.#step, message: messageOf(error).slice(0, FAILURE_CHARS_MAX) };
    this.#move("failed");
    return this.failure;
  }

  /** The worker has the exit, or the failure. */
  acknowledge(): void {
    if (this.phase === "exited" || this.phase === "failed") this.#acknowledged.resolve();
  }

  /** Resolves when the phase is `running`, `failed` or `exited`, or after `waitMs`. */
  async settled(waitMs: number): Promise<void> {
    if (waitMs > 0) await within(waitMs, this.#settled.promise);
  }

  get exited(): Promise<GuestExit> {
    return this.#exited.promise;
  }

  /** Resolves at the acknowledgement, or after `waitMs`. */
  acknowledged(waitMs: number): Promise<void> {
    return within(waitMs, this.#acknowledged.promise);
  }

  #move(phase: Phase): void {
    this.phase = phase;
    this.#settled.resolve();
  }
}

/** Waits for `work`, but no longer than `ms`. */
export async function within(ms: number, work: Promise<void>): Promise<void> {
  const timer = Promise.withResolvers<void>();
  const handle = setTimeout(timer.resolve, ms);
  await Promise.race([work, timer.promise]);
  clearTimeout(handle);
}

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
  /** Restarts of the user's process so far. */
  run = 0;
  readonly #now: () => number;
  readonly #settled = Promise.withResolvers<void>();
  readonly #acknowledged = Promise.withResolvers<void>();
  /** Of the present run. */
  #exited = Promise.withResolvers<GuestExit>();
  #restart = Promise.withResolvers<void>();
  #restartAfterMs: number | null = null;
  #isAcknowledged = false;
  #stopAsked = Promise.withResolvers<void>();
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
    this.#keep({ step: name, ms: Math.round((this.#now() - start) * 10) / 10, skipped });
    return (skipped === null ? result : undefined) as Exclude<T, Skipped>;
  }

  /** A step that is done again (a restart's) takes the place of its first time. */
  #keep(done: GuestStatus["steps"][number]): void {
    const at = this.steps.findIndex(({ step }) => step === done.step);
    if (at === -1) this.steps.push(done);
    else this.steps[at] = done;
  }

  running(pid: number): void {
    this.pid = pid;
    this.#move("running");
  }

  stopping(): void {
    if (this.phase === "running") this.#move("stopping");
    this.#stopAsked.resolve();
  }

  /** How the present run ended. */
  ended(exit: Omit<GuestExit, "run">): void {
    this.exit = { ...exit, run: this.run };
    this.#move("exited");
    this.#exited.resolve(this.exit);
  }

  /**
   * The worker wants the process to run again after run `run`, in `afterMs`. True also where it was asked before; false
   * where that run still goes on, or the machine is about to power off.
   */
  restart(run: number, afterMs: number): boolean {
    if (this.phase !== "failed" && run < this.run) return true;
    if (this.phase !== "exited" || run !== this.run || this.#isAcknowledged) return false;
    this.run++;
    this.pid = null;
    this.#exited = Promise.withResolvers();
    this.#stopAsked = Promise.withResolvers();
    this.#restartAfterMs = afterMs;
    this.#move("restarting");
    this.#restart.resolve();
    return true;
  }

  /** What is to follow an end: the wait before the next run, or null for the power off (asked for, or after `waitMs`). */
  async verdict(waitMs: number): Promise<number | null> {
    await within(waitMs, Promise.race([this.#acknowledged.promise, this.#restart.promise]));
    const afterMs = this.#restartAfterMs;
    this.#restartAfterMs = null;
    this.#restart = Promise.withResolvers();
    // Whoever asks for a restart from now on is too late.
    if (afterMs === null) this.acknowledge();
    return afterMs;
  }

  /** Waits `ms` for the next run; false where a stop was asked for meanwhile, which is then the end of that run too. */
  async isToRunAfter(ms: number): Promise<boolean> {
    let stopped = false;
    await within(ms, this.#stopAsked.promise.then(() => void (stopped = true)));
    return !stopped;
  }

  failed(error: unknown): NonNullable<GuestStatus["failure"]> {
    this.failure = { step: this.#step, message: messageOf(error).slice(0, FAILURE_CHARS_MAX) };
    this.#move("failed");
    return this.failure;
  }

  /** The worker has the exit, or the failure. */
  acknowledge(): void {
    if (this.phase !== "exited" && this.phase !== "failed") return;
    this.#isAcknowledged = true;
    this.#acknowledged.resolve();
  }

  /** Resolves when the phase is `running`, `failed` or `exited`, or after `waitMs`. */
  async settled(waitMs: number): Promise<void> {
    if (waitMs > 0) await within(waitMs, this.#settled.promise);
  }

  /** The end of run `run`, or of a later one. */
  exited(run: number): Promise<GuestExit> {
    return run < this.run && this.exit !== null ? Promise.resolve(this.exit) : this.#exited.promise;
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

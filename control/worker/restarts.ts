/**
 * Carries the restart policy out. A process that ended is run again inside its guest, which keeps the machine `started`
 * and costs no boot; where the guest is gone, or does not take the wish in time, the machine comes to rest and is started
 * anew. Each restart is on disk before it is asked for: an agent that dies in between counts it, and judges again.
 */
import { GodwitError } from "../contract/errors.ts";
import type { GuestExit } from "../contract/guest-api.ts";
import { backoffMs, pause } from "./backoff.ts";
import type { Host } from "./host.ts";
import { exitOf, sentenceOf } from "./exit.ts";
import { judgeEnd } from "./restart-policy.ts";
import type { Requests } from "./requests.ts";
import { noteLifeEvent } from "./store/life-events.ts";
import { findMachine, patchMachine } from "./store/machines.ts";
import type { Watcher } from "./watch.ts";

/** Times of restarts that are remembered for a machine: above every policy's `max_retries`. */
export const RESTART_TIMES_KEPT = 1_000;
const RUN_OF_A_GONE_GUEST = -1;
const RUNS_AGAIN_TRIES_MAX = 20;
/** Together well within the guest's EXIT_ACK_WAIT_MS. */
const ASK_TRIES_MAX = 6;
const ASK_AGAIN = { firstMs: 30, capMs: 500 };
const RUNS_AGAIN_POLL = { firstMs: 50, capMs: 1_000 };

export interface RestartsOptions {
  readonly host: Host;
  readonly requests: Requests;
  readonly random: () => number;
  /** Aborted when the agent leaves. */
  readonly signal: AbortSignal;
  /** Follows the next run to its end. */
  readonly follow: (machineId: string, watcher: Watcher) => void;
}

export class Restarts {
  readonly #options: RestartsOptions;
  /** The last run of each guest that was judged: its end may be told by more than one who followed it. */
  readonly #judged = new WeakMap<Watcher, number>();

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /**
   * The machine's process, or its VM, has ended unasked. Resolves when the restart is under way, or the rest.
   *
   * @throws what the store throws: nothing is known of the end then, and it must be told again
   */
  async ended(
    machineId: string,
    watcher: Watcher | null,
    told: GuestExit | null,
    reason: string | null,
  ): Promise<void> {
    const { host, requests, random, signal } = this.#options;
    const { store, logs } = host;
    const machine = findMachine(store, machineId);
    if (machine === null || machine.state !== "started") return;
    const run = told === null ? RUN_OF_A_GONE_GUEST : told.run ?? 0;
    if (watcher !== null && this.#judged.get(watcher) === run) return;
    const exit = exitOf(told, { requested: false, reason }, store.now());
    const verdict = judgeEnd(machine.spec.restart, exit, machine.restarts_at_ms, store.now(), random);
    if (verdict.kind === "rest") {
      void requests.ended(machineId, told, reason);
      if (verdict.why !== null) logs.system(machineId, `not run again: ${verdict.why}`);
      return;
    }
    const number = machine.restarts + 1;
    const last_exit = { ...exit, restarting: true };
    store.write(() => {
      patchMachine(store, machineId, {
        last_exit,
        restarts: number,
        restarts_at_ms: [...machine.restarts_at_ms, store.now()].slice(-RESTART_TIMES_KEPT),
      });
      const event = { type: "exit", status: "started", source: "worker", exit: last_exit } as const;
      noteLifeEvent(store, machineId, { ...event, reason: null });
    });
    if (watcher !== null) this.#judged.set(watcher, run);
    const wait = `${(verdict.afterMs / 1_000).toFixed(1)} s`;
    logs.system(machineId, `${sentenceOf(exit)}; restart ${number} in ${wait}`);
    if (watcher !== null && told !== null && await this.#runAgain(watcher, told, verdict.afterMs)) {
      host.metrics.restarts.inc({ way: "in_guest" });
      this.#options.follow(machineId, watcher);
      return await this.#noteStart(machineId, watcher, number, verdict.afterMs);
    }
    if (signal.aborted) return;
    host.metrics.restarts.inc({ way: "reboot" });
    try {
      await requests.ended(machineId, told, reason, "restart");
    } catch (error) {
      // Not kept, so that it is told again and must be judged again.
      if (watcher !== null) this.#judged.delete(watcher);
      throw error;
    }
    await pause(verdict.afterMs, signal);
    if (!signal.aborted) await requests.bringBack(machineId);
  }

  /** Asked again where the conversation broke off: the guest takes the same wish twice, and waits a few seconds for it. */
  async #runAgain(watcher: Watcher, exit: GuestExit, afterMs: number): Promise<boolean> {
    const { host, random, signal } = this.#options;
    for (let tries = 1;; tries++) {
      try {
        await watcher.restart({ run: exit.run ?? 0, after_ms: afterMs });
        return true;
      } catch (error) {
        const brokeOff = error instanceof GodwitError && error.code === "guest.gone";
        if (!brokeOff || tries >= ASK_TRIES_MAX || signal.aborted) {
          host.log.debug({ err: error }, "cannot restart inside the guest");
          return false;
        }
        await Promise.race([pause(backoffMs(ASK_AGAIN, tries, random), signal), watcher.gone]);
      }
    }
  }

  /** The machine's row says since when its process runs; one that has ended again is the next restart's concern. */
  async #noteStart(machineId: string, watcher: Watcher, number: number, afterMs: number): Promise<void> {
    const { host: { store }, random, signal } = this.#options;
    await pause(afterMs, signal);
    for (let tries = 1; tries <= RUNS_AGAIN_TRIES_MAX && !signal.aborted; tries++) {
      const status = await watcher.status().catch(() => null);
      if (signal.aborted) return;
      const machine = findMachine(store, machineId);
      if (machine?.state !== "started" || machine.restarts !== number) return;
      if (status?.phase === "running") {
        return store.write(() => {
          patchMachine(store, machineId, { started_at_ms: store.now() });
          const event = { type: "restart", status: "started", source: "worker" } as const;
          noteLifeEvent(store, machineId, { ...event, exit: null, reason: null });
        });
      }
      await pause(backoffMs(RUNS_AGAIN_POLL, tries, random), signal);
    }
  }
}

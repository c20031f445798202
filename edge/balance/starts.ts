/**
 * Machines that this edge has asked its host's worker, or the edges of other hosts, to start: at most STARTS_IN_FLIGHT_MAX calls at once, the rest in
 * line, none twice. Whoever waits for one is woken by its row, or by `onRefused`.
 */
import { RECENTLY_STOPPED } from "../../control/contract/worker-edge-api.ts";
import { mayAsk, startAsked, startFailed, startSpared, type StartState } from "./start-state.ts";

export const STARTS_IN_FLIGHT_MAX = 32;
export const STARTS_QUEUED_MAX = 4_096;
/** What is remembered of machines; the oldest is forgotten beyond it, which costs one call too many. */
export const STARTS_REMEMBERED_MAX = 16_384;

/** Between two calls for a machine that is just being stopped. */
export const BUSY_WAIT_MS = 250;
const BUSY = "machine.busy";

/** Who is asked. */
export interface StartDoor<Via> {
  /** @returns null where the start has been taken on, else a code; never rejects */
  call(machineId: string, what: "start" | "start?spare=true", via: Via): Promise<string | null>;
}

export interface StartsOptions<Via> {
  readonly door: StartDoor<Via>;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** A call came to nothing: whoever waits is to look again. */
  readonly onRefused: (machineId: string, via: Via) => void;
}

/** @typeParam Via what the door needs to know besides the machine */
export class Starts<Via = null> {
  readonly #options: StartsOptions<Via>;
  readonly #states = new Map<string, StartState>();
  readonly #queue: { readonly machineId: string; readonly spare: boolean; readonly via: Via }[] = [];
  #inFlight = 0;
  asked = 0;
  failed = 0;
  /** Not asked for: too many were in line. */
  refused = 0;
  /** Not started: others serve, and the worker had just stopped it. */
  spared = 0;

  constructor(options: StartsOptions<Via>) {
    this.#options = options;
  }

  get pending(): number {
    return this.#inFlight + this.#queue.length;
  }

  /** Null where nothing is known against asking. @param spare as in `ask` */
  state(machineId: string, spare = false): StartState | null {
    const state = this.#states.get(machineId) ?? null;
    return state !== null && mayAsk(state, this.#options.nowMs(), spare) ? null : state;
  }

  /**
   * @param spare others serve; the worker leaves a machine alone then that it has just stopped
   * @returns false where too many wait already
   */
  ask(machineId: string, via: Via, spare = false): boolean {
    const before = this.#states.get(machineId) ?? null;
    if (!mayAsk(before, this.#options.nowMs(), spare)) return true;
    if (this.#queue.length >= STARTS_QUEUED_MAX) {
      this.refused++;
      return false;
    }
    this.#set(machineId, startAsked(before, this.#options.nowMs()));
    this.#queue.push({ machineId, spare, via });
    this.#next();
    return true;
  }

  /** Its row says that it runs, or that its start came to nothing. */
  rowSaid(machineId: string, started: boolean): void {
    if (started) this.#states.delete(machineId);
    else if (this.#states.has(machineId)) this.#fail(machineId, "machine.boot_failed");
  }

  #fail(machineId: string, code: string): void {
    const { nowMs, random } = this.#options;
    this.failed++;
    this.#set(machineId, startFailed(this.#states.get(machineId) ?? null, code, nowMs(), random()));
  }

  #spare(machineId: string): void {
    this.spared++;
    this.#set(machineId, startSpared(this.#states.get(machineId) ?? null, this.#options.nowMs()));
  }

  #set(machineId: string, state: StartState): void {
    this.#states.delete(machineId);
    this.#states.set(machineId, state);
    if (this.#states.size <= STARTS_REMEMBERED_MAX) return;
    for (const oldest of this.#states.keys()) return void this.#states.delete(oldest);
  }

  /** It is about to come to rest; its row may not have said so yet. */
  #askSoon(machineId: string, via: Via): void {
    setTimeout(() => {
      this.#states.delete(machineId);
      this.#options.onRefused(machineId, via);
    }, BUSY_WAIT_MS);
  }

  #next(): void {
    while (this.#inFlight < STARTS_IN_FLIGHT_MAX && this.#queue.length > 0) {
      const { machineId, spare, via } = this.#queue.shift()!;
      this.#inFlight++;
      this.asked++;
      void this.#options.door.call(machineId, spare ? "start?spare=true" : "start", via).then((code) => {
        this.#inFlight--;
        if (code === BUSY) this.#askSoon(machineId, via);
        else if (code !== null) {
          if (code === RECENTLY_STOPPED) this.#spare(machineId);
          else this.#fail(machineId, code);
          this.#options.onRefused(machineId, via);
        }
        this.#next();
      });
    }
  }
}

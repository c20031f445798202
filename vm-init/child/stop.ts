/**
 * A stop: the signal to each main process at once, SIGKILL for everything when patience ends. A second stop replaces the
 * first's patience.
 */
import { BootError } from "../system/error.ts";
import { kill, signalNumber } from "../system/process.ts";

const ALL = -1;
const SIGKILL = 9;

export class Stopper {
  #pids: readonly number[] = [];
  #timer: Timer | null = null;
  #early: { signal: string; timeoutS: number } | null = null;

  /** The processes run: a stop that came before them is done now. */
  started(pids: readonly number[]): void {
    this.#pids = pids;
    if (this.#early !== null) this.stop(this.#early.signal, this.#early.timeoutS);
  }

  ended(): void {
    this.#pids = [];
    this.#early = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  stop(signal: string, timeoutS: number): void {
    const number = numberOf(signal);
    if (this.#pids.length === 0) {
      this.#early = { signal, timeoutS };
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(killAll, timeoutS * 1_000);
    for (const pid of this.#pids) kill(pid, number);
  }

  /** One has ended by itself: the others follow. A stop that goes on already keeps its patience. */
  stopOthers(gone: number, signal: string, timeoutS: number): void {
    this.#pids = this.#pids.filter((pid) => pid !== gone);
    if (this.#timer === null && this.#pids.length > 0) this.stop(signal, timeoutS);
  }

  /** False where no process runs. */
  signal(signal: string): boolean {
    const number = numberOf(signal);
    return this.#pids.map((pid) => kill(pid, number)).includes(true);
  }
}

/** Every process but PID 1, which is who calls. */
export function killAll(): void {
  kill(ALL, SIGKILL);
}

function numberOf(signal: string): number {
  const number = signalNumber(signal);
  if (number === null) throw new BootError(`Cannot send the signal "${signal}": there is none of this name`);
  return number;
}

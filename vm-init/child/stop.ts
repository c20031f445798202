/** A stop: the signal at once, SIGKILL for everything when patience ends. A second stop replaces the first's patience. */
import { BootError } from "../system/error.ts";
import { kill, signalNumber } from "../system/process.ts";

const ALL = -1;
const SIGKILL = 9;

export class Stopper {
  #pid: number | null = null;
  #timer: Timer | null = null;
  #early: { signal: string; timeoutS: number } | null = null;

  /** The process runs: a stop that came before it is done now. */
  started(pid: number): void {
    this.#pid = pid;
    if (this.#early !== null) this.stop(this.#early.signal, this.#early.timeoutS);
  }

  ended(): void {
    this.#pid = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  stop(signal: string, timeoutS: number): void {
    const number = numberOf(signal);
    if (this.#pid === null) {
      this.#early = { signal, timeoutS };
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(killAll, timeoutS * 1_000);
    kill(this.#pid, number);
  }

  /** False where no process runs. */
  signal(signal: string): boolean {
    const number = numberOf(signal);
    return this.#pid !== null && kill(this.#pid, number);
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

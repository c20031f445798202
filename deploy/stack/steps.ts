/**
 * Progress for people: one line a step with its duration, to stderr where stdout is for JSON. On a terminal the line shows
 * live what the step is at; elsewhere the last such words are shown only when the step fails.
 */
import { GodwitError, messageOf } from "../../control/contract/errors.ts";

export interface StepsOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const NAME_WIDTH = 16;
/** What a step said last, shown when it fails. */
const LINES_KEPT = 10;
const LIVE_WIDTH = 100;

export class Steps {
  readonly #out: StepsOutput;
  readonly #now: () => number;
  /** What ran, with its duration, for `--json`. */
  readonly timings: { step: string; ms: number }[] = [];
  #current: string | null = null;

  constructor(out: StepsOutput, now: () => number = () => performance.now()) {
    this.#out = out;
    this.#now = now;
  }

  /** Runs one step. `say` tells what it is at; what it resolves to, if a string, stands behind its duration. */
  async run<T>(name: string, work: (say: (detail: string) => void) => Promise<T>): Promise<T> {
    const started = this.#now();
    this.#current = name;
    const live = this.#out.isTTY === true;
    if (live) this.#out.write(`· ${name} …`);
    const said: string[] = [];
    const say = (detail: string) => {
      said.push(detail);
      if (said.length > LINES_KEPT) said.shift();
      if (live) this.#out.write(`\r\x1b[K· ${name}: ${detail.split("\n")[0]!.slice(0, LIVE_WIDTH)}`);
    };
    try {
      const result = await work(say);
      this.#end("✓", name, started, typeof result === "string" ? result : "");
      return result;
    } catch (error) {
      this.#end("✗", name, started, "");
      for (const detail of said) this.#out.write(`    ${detail}\n`);
      throw error;
    }
  }

  line(text: string): void {
    this.#out.write(`${text}\n`);
  }

  /** The step that runs or was the last one to run. */
  get current(): string | null {
    return this.#current;
  }

  #end(mark: string, name: string, started: number, detail: string): void {
    const ms = this.#now() - started;
    this.timings.push({ step: name, ms: Math.round(ms) });
    const clear = this.#out.isTTY === true ? "\r\x1b[K" : "";
    const note = detail === "" ? "" : `  ${detail}`;
    this.#out.write(`${clear}${mark} ${name.padEnd(NAME_WIDTH)} ${formatDuration(ms).padStart(8)}${note}\n`);
  }
}

export function formatDuration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** A failure for people: what, and what to do next. */
export function renderFailure(error: unknown): string {
  if (!(error instanceof GodwitError)) {
    return `  ${error instanceof Error ? error.stack ?? error.message : messageOf(error)}`;
  }
  const lines = error.message.split("\n").map((line) => `  ${line}`);
  const hint = error.hint === null ? [] : [`  → ${error.hint}`];
  return [...lines, ...hint, `  (${error.code})`].join("\n");
}

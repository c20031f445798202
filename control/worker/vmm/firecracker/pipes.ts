/**
 * Firecracker's log and metrics, which it writes into two pipes and never waits for: a pipe that is full loses lines, and
 * Firecracker counts them. They are emptied now and then, so that a Firecracker that says much costs no more than what a
 * pipe holds in that time.
 */
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { z } from "zod";
import { LineSplitter } from "../split-lines.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";

const DRAIN_INTERVAL_MS = 5_000;
/** What a pipe holds by default (pipe(7)). */
const PIPE_BYTES = 65_536;
const METRICS_LINE_BYTES_MAX = 262_144;

/** What of the metrics speaks of trouble; Firecracker has hundreds more. Counted since the line before. */
export const MetricsLine = z.object({
  utc_timestamp_ms: z.number(),
  logger: z.object({ missed_log_count: z.number(), missed_metrics_count: z.number() }).partial().optional(),
  seccomp: z.object({ num_faults: z.number() }).partial().optional(),
  uart: z.object({ rate_limiter_dropped_bytes: z.number() }).partial().optional(),
  vmm: z.object({ panic_count: z.number() }).partial().optional(),
});
export type MetricsLine = z.infer<typeof MetricsLine>;

/** Those that are open; emptied by one timer, so that a host with many machines wakes no more often than one with few. */
const open = new Set<Pipes>();
let timer: NodeJS.Timeout | null = null;

export class Pipes {
  /** The newest line that was whole. */
  metrics: MetricsLine | null = null;
  readonly #log: number | null;
  readonly #metrics: number | null;
  readonly #output: string;
  #splitter = new LineSplitter(METRICS_LINE_BYTES_MAX);
  #closed = false;

  constructor(paths: FirecrackerPaths) {
    this.#log = openPipe(paths.inJail("log"));
    this.#metrics = openPipe(paths.inJail("metrics"));
    this.#output = paths.output;
    open.add(this);
    timer ??= setInterval(() => open.forEach((pipes) => pipes.drain()), DRAIN_INTERVAL_MS).unref();
  }

  /** Takes what is there now: the log goes to its file, of the metrics the last line counts. */
  drain(): void {
    if (this.#closed) return;
    const said = readAvailable(this.#log);
    if (said.length > 0) append(this.#output, said);
    try {
      for (const line of this.#splitter.push(readAvailable(this.#metrics))) {
        const parsed = MetricsLine.safeParse(JSON.parse(line));
        if (parsed.success) this.metrics = parsed.data;
      }
    } catch {
      // A line that lost its middle, or is none: the next one starts afresh.
      this.#splitter = new LineSplitter(METRICS_LINE_BYTES_MAX);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.drain();
    this.#closed = true;
    open.delete(this);
    if (open.size === 0 && timer !== null) {
      clearInterval(timer);
      timer = null;
    }
    for (const fd of [this.#log, this.#metrics]) if (fd !== null) closeSync(fd);
  }
}

/** What is said of a machine whose folder is gone, or on a disk that is full, is lost: no VM ends for that. */
function append(file: string, said: Buffer): void {
  try {
    const fd = openSync(file, "a", 0o600);
    try {
      writeSync(fd, said);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!["ENOENT", "ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** Null where it is gone, or is no pipe any more: the folder is the jailed user's. */
function openPipe(path: string): number | null {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    return null;
  }
}

function readAvailable(fd: number | null): Buffer {
  if (fd === null) return Buffer.alloc(0);
  const bytes = Buffer.allocUnsafe(PIPE_BYTES);
  try {
    return Buffer.from(bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, null)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return Buffer.alloc(0);
    throw error;
  }
}

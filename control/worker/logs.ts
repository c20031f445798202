/**
 * Log lines of machines on their way to Redis, and the last ones in memory for who asks this worker. Not state: while
 * Redis is away the queue is bounded and drops its oldest lines, which it counts; nothing else ever waits for it.
 */
import { LOG_STREAM_ENTRIES_MAX, type LogLine, logStream } from "../contract/events.ts";
import type { LogRedis } from "../publish/redis.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import type { Metrics } from "./metrics.ts";
import { deleteLogTail, loadLogTail, type LogTail, saveLogTail } from "./store/log-tails.ts";
import type { Store } from "./store/store.ts";

/** Lines that wait for Redis. */
export const LOG_QUEUE_LINES_MAX = 10_000;
/** Together, in UTF-16 units: a guest's lines may be LOG_LINE_BYTES_MAX long each, and there are many guests. */
export const LOG_QUEUE_CHARS_MAX = 16_777_216;
/** Lines of one machine that the worker remembers. */
export const LOG_TAIL_LINES_MAX = 200;
/** Together; they are saved at most once in LOG_SAVE_INTERVAL_MS. */
export const LOG_TAIL_CHARS_MAX = 262_144;
export const LOG_SAVE_INTERVAL_MS = 1_000;
const SHIP_BATCH_MAX = 500;
const RETRY: Backoff = { firstMs: 50, capMs: 5_000 };

export interface LogsOptions {
  readonly redis: Pick<LogRedis, "pipeline">;
  readonly store: Store;
  readonly region: string;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly appOf: (machineId: string) => string | null;
  /** Told once for each time that lines cannot be saved any more. */
  readonly onFailure?: (error: unknown) => void;
}

export class Logs {
  readonly #options: LogsOptions;
  readonly #queue: { readonly stream: string; readonly line: LogLine }[] = [];
  #queueChars = 0;
  readonly #tails = new Map<string, { nextSeq: number; lines: LogLine[]; chars: number }>();
  readonly #unsaved = new Set<string>();
  #cannotSave = false;
  readonly #end = new AbortController();
  #wake = Promise.withResolvers<void>();
  #shipping: Promise<void> | null = null;
  /** Runs only while something is to be saved: a host whose machines say nothing sleeps. */
  #timer: NodeJS.Timeout | null = null;
  #started = false;

  constructor(options: LogsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#shipping = this.#ship();
    this.#started = true;
    if (this.#unsaved.size > 0) this.#saveSoon();
  }

  /** Ships what Redis takes at once, and saves the rest's positions. */
  async stop(): Promise<void> {
    this.#started = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#end.abort();
    this.#wake.resolve();
    await this.#shipping;
    this.#save();
  }

  /** A line of the guest; `seq` is its number there. */
  guest(machineId: string, line: { seq: number; stream: string; at_ms: number; line: string }): void {
    const tail = this.#tailOf(machineId);
    tail.nextSeq = line.seq + 1;
    if (line.stream === "lost") {
      return this.#append(machineId, "system", line.at_ms, `${line.line} log lines were lost`);
    }
    this.#append(machineId, line.stream as LogLine["stream"], line.at_ms, line.line);
  }

  /** Godwit's own words about the machine. */
  system(machineId: string, text: string): void {
    this.#append(machineId, "system", this.#options.store.now(), text);
  }

  /** The number of the next line of the guest that nobody has yet. */
  nextSeq(machineId: string): number {
    return this.#tailOf(machineId).nextSeq;
  }

  /** A new boot counts its lines anew. Saved at once: an agent that asked with the old number would be told nothing. */
  restart(machineId: string): void {
    const { store } = this.#options;
    const tail = this.#tailOf(machineId);
    tail.nextSeq = 0;
    store.write(() => saveLogTail(store, machineId, tail));
  }

  tail(machineId: string, lines: number): LogLine[] {
    return lines === 0 ? [] : this.#tailOf(machineId).lines.slice(-lines);
  }

  forget(machineId: string): void {
    this.#tails.delete(machineId);
    this.#unsaved.delete(machineId);
    this.#options.store.write(() => deleteLogTail(this.#options.store, machineId));
  }

  #tailOf(machineId: string): { nextSeq: number; lines: LogLine[]; chars: number } {
    const found = this.#tails.get(machineId);
    if (found !== undefined) return found;
    const saved: LogTail = loadLogTail(this.#options.store, machineId);
    const chars = saved.lines.reduce((sum, { line }) => sum + line.length, 0);
    const tail = { nextSeq: saved.nextSeq, lines: [...saved.lines], chars };
    this.#tails.set(machineId, tail);
    return tail;
  }

  #append(machineId: string, stream: LogLine["stream"], atMs: number, text: string): void {
    const { region, metrics, appOf } = this.#options;
    const line: LogLine = { machine: machineId, region, stream, at_ms: atMs, line: text.slice(0, 16_384) };
    const tail = this.#tailOf(machineId);
    tail.lines.push(line);
    tail.chars += line.line.length;
    while (tail.lines.length > LOG_TAIL_LINES_MAX || tail.chars > LOG_TAIL_CHARS_MAX) {
      tail.chars -= tail.lines.shift()!.line.length;
    }
    this.#unsaved.add(machineId);
    this.#saveSoon();
    const appId = appOf(machineId);
    if (appId === null) return;
    this.#queue.push({ stream: logStream(appId), line });
    this.#queueChars += line.line.length;
    while (this.#queue.length > LOG_QUEUE_LINES_MAX || this.#queueChars > LOG_QUEUE_CHARS_MAX) {
      this.#dequeue();
      metrics.logLines.inc({ outcome: "dropped" });
    }
    this.#wake.resolve();
  }

  #dequeue(): void {
    this.#queueChars -= this.#queue.shift()!.line.line.length;
  }

  #saveSoon(): void {
    if (!this.#started) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#save();
      // Not all of it where the disk is full.
      if (this.#unsaved.size > 0) this.#saveSoon();
    }, LOG_SAVE_INTERVAL_MS);
  }

  #save(): void {
    const { store } = this.#options;
    if (this.#unsaved.size === 0) return;
    try {
      store.write(() => {
        for (const machineId of this.#unsaved) saveLogTail(store, machineId, this.#tailOf(machineId));
      });
      this.#unsaved.clear();
      this.#cannotSave = false;
    } catch (error) {
      // Most often a full disk. Log lines are nothing to end the agent for: they are saved once there is room.
      if (!this.#cannotSave) this.#options.onFailure?.(error);
      this.#cannotSave = true;
    }
  }

  async #ship(): Promise<void> {
    const { metrics, random } = this.#options;
    for (let tries = 0;;) {
      if (this.#queue.length === 0) {
        if (this.#end.signal.aborted) return;
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
        continue;
      }
      const batch = this.#queue.slice(0, SHIP_BATCH_MAX);
      try {
        await this.#xadd(batch);
        tries = 0;
      } catch {
        // Redis is away: the connection's own listener says so once; here the lines wait, as many as are kept.
        if (this.#end.signal.aborted) return;
        await pause(backoffMs(RETRY, ++tries, random), this.#end.signal);
        continue;
      }
      // Lines may have been dropped at the front meanwhile: take out just those that went.
      const gone = new Set(batch);
      while (this.#queue.length > 0 && gone.has(this.#queue[0]!)) this.#dequeue();
      metrics.logLines.inc({ outcome: "shipped" }, batch.length);
    }
  }

  async #xadd(batch: readonly { stream: string; line: LogLine }[]): Promise<void> {
    const { redis } = this.#options;
    // One for each stream: those of several apps lie on different servers of a cluster.
    const pipelines = new Map<string, ReturnType<LogRedis["pipeline"]>>();
    for (const { stream, line } of batch) {
      const pipeline = pipelines.get(stream) ?? redis.pipeline();
      pipelines.set(stream, pipeline);
      const fields = Object.entries(line).flatMap(([name, value]) => [name, String(value)]);
      pipeline.xadd(stream, "MAXLEN", "~", LOG_STREAM_ENTRIES_MAX, "*", ...fields);
    }
    const answers = await Promise.all(Array.from(pipelines.values(), (pipeline) => pipeline.exec()));
    for (const [error] of answers.flatMap((answer) => answer ?? [])) if (error !== null) throw error;
  }
}

/**
 * Carries the outbox to the global stream. Woken by NOTIFY, and by a periodic sweep in case a notification was lost.
 * Several processes may publish at once: each takes lines with FOR UPDATE SKIP LOCKED, and as versions decide and not
 * the order of arrival, their lines may interleave. A line is deleted after Redis has it; a crash in between appends it
 * twice, which versions make harmless. While Redis is away the lines wait, bounded only by Postgres' disk.
 */
import type { Redis } from "ioredis";
import { messageOf } from "../contract/errors.ts";
import { GLOBAL_STREAM } from "../contract/events.ts";
import type { Store } from "../store/database.ts";
import { deleteEvents, OUTBOX_CHANNEL, takeEvents } from "../store/outbox.ts";
import { backoffMs } from "./backoff.ts";
import { APPEND_BATCH_MAX, appendEvents } from "./stream-writer.ts";

export const SWEEP_INTERVAL_MS = 5_000;

export interface PublisherOptions {
  readonly store: Store;
  /** Its own connection; commands must fail, not queue, while it is away (`enableOfflineQueue: false`). */
  readonly redis: Redis;
  readonly log: (level: "info" | "warn", message: string) => void;
  readonly onPublished?: (events: number) => void;
  readonly onFailure?: () => void;
  /** @default SWEEP_INTERVAL_MS */
  readonly sweepIntervalMs?: number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #ended = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();
  #stopping = false;
  #unlisten: (() => Promise<void>) | null = null;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#unlisten = await this.#options.store.listen(OUTBOX_CHANNEL, () => this.wake());
    this.#run().then(this.#ended.resolve, this.#ended.reject);
  }

  wake(): void {
    this.#wake.resolve();
  }

  /** Waits for the batch under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.wake();
    await this.#ended.promise;
    // Postgres may be gone by now; the connection ends with the process anyway.
    await this.#unlisten?.().catch(() => {});
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stopping) {
      const woken = this.#wake.promise;
      try {
        while (!this.#stopping && await this.#publishBatch() > 0);
        if (failures > 0) this.#options.log("info", "publisher: publishes again");
        failures = 0;
        await orTimeout(woken, this.#options.sweepIntervalMs ?? SWEEP_INTERVAL_MS);
      } catch (error) {
        failures++;
        this.#options.onFailure?.();
        if (failures === 1) this.#options.log("warn", `publisher: cannot publish: ${messageOf(error)}`);
        await orTimeout(this.#stopped(), backoffMs(failures, Math.random()));
      }
      this.#wake = Promise.withResolvers<void>();
    }
  }

  /** Only a stop cuts a wait after a failure short: notifications go on while Redis is away. */
  async #stopped(): Promise<void> {
    while (!this.#stopping) {
      await this.#wake.promise;
      if (!this.#stopping) this.#wake = Promise.withResolvers<void>();
    }
  }

  async #publishBatch(): Promise<number> {
    return await this.#options.store.transaction(async (tx) => {
      const lines = await takeEvents(tx, APPEND_BATCH_MAX);
      if (lines.length === 0) return 0;
      await appendEvents(this.#options.redis, GLOBAL_STREAM, lines.map((line) => line.event));
      await deleteEvents(tx, lines.map((line) => line.id));
      this.#options.onPublished?.(lines.length);
      return lines.length;
    });
  }
}

async function orTimeout(event: Promise<void>, ms: number): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, ms);
  await Promise.race([event, timeout.promise]);
  clearTimeout(timer);
}

/**
 * Carries the outbox to Redis: at once when something was committed, in order, with backoff while Redis is away. An event
 * leaves the outbox only when Redis has acknowledged it, so each is published at least once.
 */
import type { Redis } from "ioredis";
import { regionStream } from "../contract/events.ts";
import { APPEND_BATCH_MAX, appendEvents } from "../publish/stream-writer.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import type { Metrics } from "./metrics.ts";
import { acknowledge, pending } from "./store/outbox.ts";
import type { Store } from "./store/store.ts";

const RETRY: Backoff = { firstMs: 20, capMs: 2_000 };

export interface OutboxOptions {
  readonly redis: Redis;
  readonly store: Store;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly onFailure: (error: unknown) => void;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #end = new AbortController();
  #wake = Promise.withResolvers<void>();
  #running: Promise<void> | null = null;
  #unlisten: (() => void) | null = null;
  readonly #onReady = () => this.#nudge();
  #nudged = new AbortController();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unlisten = this.#options.store.onChange(() => this.#wake.resolve());
    this.#options.redis.on("ready", this.#onReady);
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#unlisten?.();
    this.#options.redis.off("ready", this.#onReady);
    this.#end.abort();
    this.#wake.resolve();
    await this.#running;
  }

  /** Redis is back: no need to sit out the backoff. */
  #nudge(): void {
    this.#nudged.abort();
    this.#nudged = new AbortController();
    this.#wake.resolve();
  }

  async #run(): Promise<void> {
    const { store, redis, metrics, random, onFailure } = this.#options;
    const stream = regionStream(store.identity.region);
    for (let failures = 0; !this.#end.signal.aborted;) {
      // Renewed before looking, so that a commit after the look is not missed.
      this.#wake = Promise.withResolvers();
      const entries = pending(store, APPEND_BATCH_MAX);
      if (entries.length === 0) {
        await this.#wake.promise;
        continue;
      }
      const ends = AbortSignal.any([this.#end.signal, this.#nudged.signal]);
      if (redis.status !== "ready") {
        // Not connected yet, or not any more; the connection itself tells when it is, and says why it is not.
        await pause(RETRY.capMs, ends);
        continue;
      }
      try {
        await appendEvents(redis, stream, entries.map((entry) => entry.event));
        // A full disk may refuse this: then they go once more, which is what "at least once" allows.
        acknowledge(store, entries);
      } catch (error) {
        metrics.publishFailures.inc();
        if (failures++ === 0) onFailure(error);
        await pause(backoffMs(RETRY, failures, random), ends);
        continue;
      }
      failures = 0;
      metrics.published.inc(entries.length);
    }
  }
}

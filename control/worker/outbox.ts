/**
 * Carries the outbox to Redis: at once when something was committed, in order, with backoff while Redis is away. An event
 * leaves the outbox only when Redis has acknowledged it, so each is published at least once.
 *
 * At each tick, and on each new connection before anything is appended, it looks whether the stream still holds all that
 * this host published and publishes all of it again where not; a digest follows. One loop does one thing at a time on one
 * connection, so a digest that is made while nothing waits says exactly what stands before it.
 */
import type { Redis } from "ioredis";
import {
  BATCH_EVENTS_MAX,
  DIGEST_INTERVAL_MS,
  EVENT_SCHEMA,
  regionStream,
  type StateDigest,
} from "../contract/events.ts";
import type { SigningKey } from "../contract/signing.ts";
import type { RepublishReason } from "../publish/must-republish.ts";
import { newestPublished } from "../publish/own-history.ts";
import { StreamWatch } from "../publish/stream-watch.ts";
import { appendDigest, appendEvents } from "../publish/stream-writer.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import type { Metrics } from "./metrics.ts";
import { acknowledge, pending } from "./store/outbox.ts";
import {
  floorEpoch,
  forgetLastId,
  forgetTombstones,
  newestVersion,
  noteAppended,
  pageOfPublished,
  publishedSums,
  setFullFromId,
  streamMarks,
} from "./store/published.ts";
import type { Store } from "./store/store.ts";
import { takeEpochWhereRewound } from "./store/take-epoch.ts";

const RETRY: Backoff = { firstMs: 20, capMs: 2_000 };
/** A tombstone outlives every replica and snapshot that may still have its row. */
const TOMBSTONE_KEEP_MS = 7 * 86_400_000;

export interface OutboxOptions {
  readonly redis: Redis;
  readonly store: Store;
  /** Null: what is published is not signed. */
  readonly key: SigningKey | null;
  readonly metrics: Metrics;
  readonly random: () => number;
  readonly onFailure: (error: unknown) => void;
  readonly onRepublish?: (reason: RepublishReason | "new_epoch") => void;
  /** @default DIGEST_INTERVAL_MS */
  readonly digestIntervalMs?: number;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stream: string;
  readonly #owner: string;
  readonly #watch: StreamWatch;
  readonly #digestIntervalMs: number;
  readonly #end = new AbortController();
  #wake = Promise.withResolvers<void>();
  #running: Promise<void> | null = null;
  #unlisten: (() => void) | null = null;
  readonly #onReady = () => this.#nudge();
  #nudged = new AbortController();
  #knowsHistory = false;
  #lookAtMs = 0;
  #digestAtMs = 0;
  /** All rows are published again: the last one that was, and the first entry. */
  #republication: { afterName: string; fromId: string | null } | null = null;

  constructor(options: OutboxOptions) {
    const { identity } = options.store;
    this.#options = options;
    this.#stream = regionStream(identity.region);
    this.#owner = `worker:${identity.host_id}`;
    this.#watch = new StreamWatch(options.redis, this.#stream, this.#owner);
    this.#digestIntervalMs = options.digestIntervalMs ?? DIGEST_INTERVAL_MS;
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
    this.#watch.close();
  }

  /** Redis is back: no need to sit out the backoff. */
  #nudge(): void {
    this.#nudged.abort();
    this.#nudged = new AbortController();
    this.#wake.resolve();
  }

  async #run(): Promise<void> {
    const { redis, metrics, random, onFailure } = this.#options;
    for (let failures = 0; !this.#end.signal.aborted;) {
      // Renewed before looking, so that a commit after the look is not missed.
      this.#wake = Promise.withResolvers();
      const ends = AbortSignal.any([this.#end.signal, this.#nudged.signal]);
      if (redis.status !== "ready") {
        // Not connected yet, or not any more; the connection itself tells when it is, and says why it is not.
        await pause(RETRY.capMs, ends);
        continue;
      }
      try {
        const worked = await this.#work();
        failures = 0;
        if (!worked) await this.#wakeOrTick();
      } catch (error) {
        metrics.publishFailures.inc();
        if (failures++ === 0) onFailure(error);
        await pause(backoffMs(RETRY, failures, random), ends);
      }
    }
  }

  /** The first of these that is to be done. @returns false where there is nothing to do before the next tick */
  async #work(): Promise<boolean> {
    if (!this.#knowsHistory) await this.#learnHistory();
    if (this.#watch.isStale || performance.now() >= this.#lookAtMs) await this.#look();
    // The connection may have changed again during the look.
    if (this.#watch.isStale) return true;
    if (await this.#publish()) return true;
    if (this.#republication !== null) return await this.#republish(this.#republication);
    if (performance.now() < this.#digestAtMs) return false;
    await this.#digest();
    return true;
  }

  async #wakeOrTick(): Promise<void> {
    const over = new AbortController();
    const tickMs = Math.max(1, Math.min(this.#lookAtMs, this.#digestAtMs) - performance.now());
    await Promise.race([this.#wake.promise, pause(tickMs, over.signal)]);
    over.abort();
  }

  /** Before the first append of this process: those of a host that was set back would go unheard. */
  async #learnHistory(): Promise<void> {
    const { redis, store, key } = this.#options;
    const shown = await newestPublished(redis, this.#stream, this.#owner, key);
    if (takeEpochWhereRewound(store, shown)) this.#tellRepublish("new_epoch");
    this.#knowsHistory = true;
  }

  async #look(): Promise<void> {
    const { store } = this.#options;
    const { lastId, fullFromId } = streamMarks(store);
    const glance = await this.#watch.look(
      this.#republication === null ? fullFromId : this.#republication.fromId,
      lastId === null ? [] : [lastId],
    );
    if (glance.reason !== null) {
      forgetLastId(store);
      this.#republication = { afterName: "", fromId: null };
      this.#tellRepublish(glance.reason);
    }
    this.#watch.accept(glance);
    this.#lookAtMs = performance.now() + this.#digestIntervalMs;
  }

  async #publish(): Promise<boolean> {
    const { store, redis, key, metrics } = this.#options;
    const entries = pending(store, BATCH_EVENTS_MAX);
    if (entries.length === 0) return false;
    const appended = await appendEvents(redis, this.#stream, entries.map((entry) => entry.event), key);
    // A full disk may refuse this: then they go once more, which is what "at least once" allows.
    acknowledge(store, entries, appended);
    metrics.published.inc(entries.length);
    return true;
  }

  /** One page. The digest that ends it comes once nothing waits. */
  async #republish(republication: { afterName: string; fromId: string | null }): Promise<boolean> {
    const { store, redis, key } = this.#options;
    const events = pageOfPublished(store, republication.afterName, BATCH_EVENTS_MAX);
    const last = events.at(-1);
    if (last === undefined) {
      await this.#digest(republication);
      return true;
    }
    const appended = await appendEvents(redis, this.#stream, events, key);
    noteAppended(store, appended);
    republication.afterName = `${last.table} ${last.key}`;
    republication.fromId ??= appended.firstId;
    return true;
  }

  /** Nothing waits, and nothing is awaited between the sums and the append. */
  async #digest(ends: { fromId: string | null } | null = null): Promise<void> {
    const { store, redis, key, metrics } = this.#options;
    const digest: StateDigest = {
      schema: EVENT_SCHEMA,
      owner: this.#owner,
      tables: publishedSums(store),
      newest: newestVersion(store),
      floor_epoch: floorEpoch(store) ?? 0,
      published_ms: store.now(),
    };
    const id = await appendDigest(redis, this.#stream, digest, key);
    noteAppended(store, { firstId: id, lastId: id });
    if (ends !== null) {
      setFullFromId(store, ends.fromId ?? id);
      this.#republication = null;
    }
    forgetTombstones(store, store.now() - TOMBSTONE_KEEP_MS);
    metrics.digests.inc();
    this.#digestAtMs = performance.now() + this.#digestIntervalMs;
  }

  #tellRepublish(reason: RepublishReason | "new_epoch"): void {
    this.#options.metrics.republications.inc({ reason });
    this.#options.onRepublish?.(reason);
  }
}

/**
 * Carries the outbox to the global stream. Woken by NOTIFY, and by a periodic sweep in case a notification was lost.
 * Several processes may publish at once: each takes lines with FOR UPDATE SKIP LOCKED, and as versions decide and not
 * the order of arrival, their lines may interleave. A line is deleted after Redis has it; a crash in between appends it
 * twice, which versions make harmless. While Redis is away the lines wait, bounded only by Postgres' disk.
 *
 * At each tick, and on each new connection before anything is appended, it looks whether the stream still holds all
 * (`must-republish.ts`) and makes up for it; and whether a digest is due. README.md has the whole.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { messageOf } from "../contract/errors.ts";
import { BATCH_EVENTS_MAX, DIGEST_INTERVAL_MS, GLOBAL_STREAM } from "../contract/events.ts";
import type { SigningKey } from "../contract/signing.ts";
import type { Store } from "../store/database.ts";
import { joinPublishing, OUTBOX_CHANNEL } from "../store/outbox.ts";
import { beginRepublication, type PublishState, publishState } from "../store/published.ts";
import { OWNER } from "./announce.ts";
import { backoffMs } from "./backoff.ts";
import { publishDigest } from "./digest.ts";
import type { RepublishReason } from "./must-republish.ts";
import { newestPublished } from "./own-history.ts";
import { publishBatch, type StreamEnd } from "./publish-batch.ts";
import { republishPage } from "./republish.ts";
import { type Glance, StreamWatch } from "./stream-watch.ts";
import { takeEpochWhereRewound } from "./take-epoch.ts";

export const SWEEP_INTERVAL_MS = 5_000;
/**
 * From one batch to the next, unless lines were left: each is a transaction here, an entry to sign, and an entry that every
 * edge has to wake up for, verify and commit. A change that comes alone is published at once.
 */
export const GATHER_MS = 30;
/** Processes tick each at its own time: a digest of this share of the interval's age is old enough to be renewed. */
const DUE_SHARE = 0.9;

export interface PublisherOptions {
  readonly store: Store;
  /** Its own connection; commands must fail, not queue, while it is away (`enableOfflineQueue: false`). */
  readonly redis: Redis;
  /** Null: what is published is not signed, for replicas that look at no signatures. */
  readonly key: SigningKey | null;
  readonly log: (level: "info" | "warn", message: string) => void;
  readonly onPublished?: (events: number) => void;
  readonly onFailure?: () => void;
  readonly onRepublish?: (reason: RepublishReason | "new_epoch") => void;
  readonly onDigest?: () => void;
  /** @default SWEEP_INTERVAL_MS */
  readonly sweepIntervalMs?: number;
  /** @default DIGEST_INTERVAL_MS */
  readonly digestIntervalMs?: number;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #end: StreamEnd;
  readonly #watch: StreamWatch;
  readonly #digestIntervalMs: number;
  readonly #ended = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #unlisten: (() => Promise<void>) | null = null;
  #knowsHistory = false;
  #republishing = false;
  /** What this process was told last that it appended, and which republication had begun by then. */
  #own: { readonly id: string; readonly republishNumber: number } | null = null;
  #nextTickMs = 0;
  #gatheredMs = -Infinity;

  constructor(options: PublisherOptions) {
    this.#options = options;
    const watch = this.#watch = new StreamWatch(options.redis, GLOBAL_STREAM, OWNER);
    this.#end = { redis: options.redis, key: options.key, isStale: () => watch.isStale };
    this.#digestIntervalMs = options.digestIntervalMs ?? DIGEST_INTERVAL_MS;
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
    this.#stopping.abort();
    this.wake();
    await this.#ended.promise;
    this.#watch.close();
    // Postgres may be gone by now; the connection ends with the process anyway.
    await this.#unlisten?.().catch(() => {});
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const woken = this.#wake.promise;
      try {
        while (!signal.aborted && await this.#work());
        if (failures > 0) this.#options.log("info", "publisher: publishes again");
        failures = 0;
        const tickMs = Math.max(1, this.#nextTickMs - performance.now());
        await orTimeout(woken, Math.min(tickMs, this.#options.sweepIntervalMs ?? SWEEP_INTERVAL_MS));
      } catch (error) {
        failures++;
        // Postgres may be another one when it is back: a standby that was behind, or restored from a backup.
        this.#knowsHistory = false;
        this.#options.onFailure?.();
        if (failures === 1) this.#options.log("warn", `publisher: cannot publish: ${messageOf(error)}`);
        // Only a stop cuts this short: notifications go on while Redis is away.
        await delay(backoffMs(failures, Math.random()), undefined, { signal }).catch(() => {});
      }
      this.#wake = Promise.withResolvers<void>();
    }
  }

  /** @returns whether there may be more to do at once */
  async #work(): Promise<boolean> {
    if (!this.#knowsHistory) await this.#learnHistory();
    const isTick = performance.now() >= this.#nextTickMs;
    if (isTick || this.#watch.isStale) await this.#look();
    const published = await this.#publish();
    if (isTick) {
      await this.#digest({ olderThanMs: this.#digestIntervalMs * DUE_SHARE });
      this.#nextTickMs = performance.now() + this.#digestIntervalMs;
    }
    return (this.#republishing && await this.#republish()) || published;
  }

  /** Before the first append of this process, and after a failure: those of a rewound database would go unheard. */
  async #learnHistory(): Promise<void> {
    const { store, redis, key } = this.#options;
    const shown = await newestPublished(redis, GLOBAL_STREAM, OWNER, key);
    const epoch = await store.transaction((tx) => takeEpochWhereRewound(tx, shown, Date.now()));
    this.#knowsHistory = true;
    if (epoch === null) return;
    this.#options.log("info", `publisher: publishes all rows in epoch ${epoch}`);
    this.#options.onRepublish?.("new_epoch");
  }

  async #look(): Promise<void> {
    const { store } = this.#options;
    const state = await store.read(publishState);
    const glance = await this.#glance(state);
    const { reason } = glance;
    if (reason !== null) {
      this.#options.log("warn", `publisher: the stream is not whole (${reason}): publishes all rows again`);
      this.#options.onRepublish?.(reason);
      await store.read((sql) => beginRepublication(sql, state.republishNumber));
    }
    this.#watch.accept(glance);
    this.#republishing = reason !== null || state.republication !== null;
  }

  #glance(state: PublishState): Promise<Glance> {
    const lastIds = state.lastId === null ? [] : [state.lastId];
    // What was appended before a republication began is published again by it, there or not.
    if (this.#own?.republishNumber === state.republishNumber) lastIds.push(this.#own.id);
    const { republication } = state;
    return this.#watch.look(republication === null ? state.fullFromId : republication.fromId, lastIds);
  }

  /** @returns whether lines were left; of those that come later a notification tells */
  async #publish(): Promise<boolean> {
    const waitMs = this.#gatheredMs + GATHER_MS - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const startedMs = performance.now();
    return await this.#options.store.transaction(async (tx) => {
      await joinPublishing(tx);
      const batch = await publishBatch(tx, this.#end);
      if (batch === null) return this.#watch.isStale;
      this.#own = { id: batch.lastId, republishNumber: batch.republishNumber };
      this.#options.onPublished?.(batch.events);
      const full = batch.events === BATCH_EVENTS_MAX;
      this.#gatheredMs = full ? -Infinity : startedMs;
      return full;
    });
  }

  async #digest(wish: Parameters<typeof publishDigest>[2]): Promise<void> {
    const { events, id } = await this.#options.store.transaction((tx) =>
      publishDigest(tx, this.#end, wish, Date.now())
    );
    if (events > 0) this.#options.onPublished?.(events);
    if (id !== null) this.#options.onDigest?.();
  }

  async #republish(): Promise<boolean> {
    const step = await this.#options.store.transaction((tx) => republishPage(tx, this.#end));
    if (step.kind === "all_appended") await this.#digest({ endsRepublication: step.number });
    // With the last page done, another look at the state says whether there is a newer republication.
    this.#republishing = step.kind === "page";
    return step.kind === "page";
  }
}

async function orTimeout(event: Promise<void>, ms: number): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, ms);
  await Promise.race([event, timeout.promise]);
  clearTimeout(timer);
}

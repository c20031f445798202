/**
 * Follows the state streams into one store. Redis away means: keep what is here, say how stale it is, reconnect with
 * capped and jittered backoff.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import type { RowChange } from "../routes/route-table.ts";
import { gatherMs } from "./gathering.ts";
import { isCorruption } from "./open-store.ts";
import type { OwnerVoices } from "./owner-voices.ts";
import type { ReplicaWorld, StreamEntries, StreamSession } from "./ports.ts";
import { readBatch } from "./read-batch.ts";
import { nextReadCount, READ_COUNT_MIN } from "./read-count.ts";
import type { ReplicaCounts } from "./replica-counts.ts";
import type { ComparedDigest, ReplicaStore, Taken } from "./replica-store.ts";
import { isGap, START } from "./stream-gap.ts";
import { EntryVerifier } from "./verify-entry.ts";

/** How long one read waits for news; also how soon a new region's stream is taken up. */
export const READ_BLOCK_MS = 1_000;
export const DISCOVERY_INTERVAL_MS = 1_000;
export const GAP_CHECK_INTERVAL_MS = 5_000;
export const BACKOFF_MS_MIN = 50;
export const BACKOFF_MS_MAX = 2_000;
const REGION_PREFIX = regionStream("");

export interface FollowerOptions {
  readonly store: ReplicaStore;
  readonly world: ReplicaWorld;
  /** Empty: every region that has a stream. */
  readonly regions: readonly string[];
  readonly log: Logger;
  readonly counts: ReplicaCounts;
  readonly voices: OwnerVoices;
  readonly onChanges: (changes: RowChange[]) => void;
  /** Signs what owner `api` publishes. Null: signatures are not looked at. */
  readonly apiPublicKey: PublisherKey | null;
  readonly onTrouble: (trouble: FollowerTrouble) => void;
}

/** What a follower cannot mend: another generation can. */
export type FollowerTrouble =
  | { readonly kind: "gap"; readonly stream: string; readonly position: string }
  | { readonly kind: "digest"; readonly stream: string; readonly compared: ComparedDigest }
  | { readonly kind: "corrupt"; readonly detail: string };

export class Follower {
  readonly #options: FollowerOptions;
  readonly #positions = new Map<string, string>();
  /** Beyond `#positions` where a stream is read again: digests up to here are of a state that we are past. */
  readonly #furthest: Map<string, string>;
  /** Our positions at the last look for gaps. */
  readonly #anchors = new Map<string, string>();
  readonly #verifier: EntryVerifier;
  /** Stream → when its newest entry was published that we have taken. */
  readonly #publishedMs = new Map<string, number>();
  /** Until the publishers are known, entries of regions would only have to be read twice. */
  #globalFirst: boolean;
  #readCount = READ_COUNT_MIN;
  readonly #stop = new AbortController();
  #session: StreamSession | null = null;
  #running: Promise<void> = Promise.resolve();
  #connected = false;
  #lastAnswerMs: number | null = null;
  #caughtUpMs: number | null = null;
  #lastError: string | null = null;
  #caughtUp: (() => void) | null = null;

  constructor(options: FollowerOptions) {
    this.#options = options;
    const { store, apiPublicKey } = options;
    this.#verifier = new EntryVerifier({ apiPublicKey, publisherKey: (owner) => store.publisherKey(owner) });
    this.#globalFirst = this.#verifier.strict;
    const stored = store.positions();
    this.#furthest = store.furthest();
    this.#follow(GLOBAL_STREAM, stored);
    for (const region of options.regions) this.#follow(regionStream(region), stored);
    if (options.regions.length === 0) {
      for (const stream of stored.keys()) if (stream.startsWith(REGION_PREFIX)) this.#follow(stream, stored);
    }
  }

  #follow(stream: string, stored: Map<string, string>): void {
    if (this.#positions.has(stream)) return;
    const position = stored.get(stream) ?? START;
    this.#positions.set(stream, position);
    this.#anchors.set(stream, position);
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves once a read has found nothing new, or could not be made. Call before `start`. */
  caughtUp(): Promise<void> {
    return new Promise((resolve) => this.#caughtUp = resolve);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#session?.close();
    await this.#running;
  }

  get connected(): boolean {
    return this.#connected;
  }
  get positions(): ReadonlyMap<string, string> {
    return this.#positions;
  }
  get lastAnswerMs(): number | null {
    return this.#lastAnswerMs;
  }
  /** When a read last brought less than it could. */
  get caughtUpMs(): number | null {
    return this.#caughtUpMs;
  }
  /** By its owner's clock, of the newest row or digest taken from each stream. */
  get publishedMs(): ReadonlyMap<string, number> {
    return this.#publishedMs;
  }
  /** Why the last connection ended; null while one stands. */
  get lastError(): string | null {
    return this.#connected ? null : this.#lastError;
  }

  // ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    const { log, world, counts } = this.#options;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await this.#followConnected(() => failures = 0);
      } catch (error) {
        if (signal.aborted) return;
        this.#lastError = messageOf(error);
        if (failures === 0) {
          log.warn({ err: this.#lastError }, "the state streams cannot be followed; serving on");
        }
        failures++;
        counts.reconnects++;
        // Nobody should wait for a Redis that is away.
        this.#tellCaughtUp();
      } finally {
        this.#connected = false;
        this.#session?.close();
        this.#session = null;
      }
      const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
      await world.pause(ceiling / 2 + world.random() * ceiling / 2, signal);
    }
  }

  /** One connection's life; ends by throwing. */
  async #followConnected(onAnswer: () => void): Promise<void> {
    const { world, regions, log } = this.#options;
    const session = await world.streams.connect();
    this.#session = session;
    let checkedMs = -Infinity, discoveredMs = -Infinity, newsMs = -Infinity;
    while (!this.#stop.signal.aborted) {
      const nowMs = world.nowMs();
      if (regions.length === 0 && nowMs - discoveredMs >= DISCOVERY_INTERVAL_MS) {
        discoveredMs = nowMs;
        for (const stream of await session.regionStreams()) this.#follow(stream, new Map());
      }
      if (nowMs - checkedMs >= GAP_CHECK_INTERVAL_MS) {
        checkedMs = nowMs;
        await this.#checkGaps(session);
      }
      const { full, brought } = await this.#readOnce(session);
      const answeredMs = this.#lastAnswerMs = world.nowMs();
      if (!this.#connected) log.info("following the state streams");
      this.#connected = true;
      onAnswer();
      // As much as one read takes means that we are behind, and a trim could overtake us.
      if (full) checkedMs = -Infinity;
      else if (brought && this.#caughtUp === null && !this.#globalFirst) {
        const restMs = gatherMs(answeredMs - newsMs);
        if (restMs > 0) await world.pause(restMs, this.#stop.signal);
      }
      if (brought) newsMs = answeredMs;
    }
  }

  /** @returns whether there was anything, and as much as one read takes */
  async #readOnce(session: StreamSession): Promise<{ brought: boolean; full: boolean }> {
    // Until the first empty answer nothing is waited for, so that caughtUp() is prompt.
    const blockMs = this.#caughtUp === null && !this.#globalFirst ? READ_BLOCK_MS : 0;
    const positions = this.#globalFirst
      ? new Map([[GLOBAL_STREAM, this.#positions.get(GLOBAL_STREAM)!]])
      : this.#positions;
    const readFrom = new Map(positions);
    const found = await session.read(positions, this.#readCount, blockMs);
    const full = found.some(({ entries }) => entries.length >= this.#readCount);
    this.#readCount = nextReadCount(found);
    // Keys of workers stand in the global stream.
    for (const each of found) if (each.stream === GLOBAL_STREAM) this.#apply(each);
    for (const each of found) {
      // One that is to be read again from further back has to be.
      const { stream } = each;
      if (stream !== GLOBAL_STREAM && this.#positions.get(stream) === readFrom.get(stream)) this.#apply(each);
    }
    if (!full) {
      if (this.#globalFirst) this.#globalFirst = false;
      else this.#caughtUpMs = this.#options.world.nowMs();
      if (found.length === 0 && positions === this.#positions) this.#tellCaughtUp();
    }
    return { brought: found.length > 0, full };
  }

  #tellCaughtUp(): void {
    this.#caughtUp?.();
    this.#caughtUp = null;
  }

  #apply({ stream, entries }: StreamEntries): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    const scope = stream === GLOBAL_STREAM ? "global" : stream.slice(REGION_PREFIX.length);
    const { world, counts, voices, log } = this.#options;
    const furthest = this.#furthest.get(stream) ?? START;
    const batch = readBatch({
      ...{ stream, scope, entries, counts, furthest },
      before: this.#positions.get(stream) ?? START,
      verifier: this.#verifier,
    });
    const nowMs = world.wallMs();
    const taken = this.#take(() => this.#options.store.take(batch, nowMs));
    this.#positions.set(stream, last.id);
    this.#furthest.set(stream, batch.furthest);
    if ((this.#anchors.get(stream) ?? START) === START) this.#anchors.set(stream, last.id);
    voices.hear(batch.words);
    for (const [rewound, position] of taken.rewound) {
      this.#positions.set(rewound, position);
      counts.rewinds++;
      log.info({ stream: rewound, position }, "an owner's key has come: its stream is read again");
    }
    if (batch.publishedMs !== null) this.#publishedMs.set(stream, batch.publishedMs);
    for (const bad of batch.refused) {
      log.warn({ stream, entry: bad.entryId, reason: bad.reason, detail: bad.detail }, "event quarantined");
    }
    this.#tell(stream, taken, nowMs);
  }

  #take(take: () => Taken): Taken {
    try {
      return take();
    } catch (error) {
      if (isCorruption(error)) this.#options.onTrouble({ kind: "corrupt", detail: messageOf(error) });
      throw error;
    }
  }

  #tell(stream: string, { changed, old, compared }: Taken, nowMs: number): void {
    const { counts, onChanges, onTrouble } = this.#options;
    counts.applied += changed.length;
    counts.old += old;
    const newest = changed.at(-1);
    if (newest !== undefined) counts.lastLagMs = Math.max(0, nowMs - newest.event.published_ms);
    const changes: RowChange[] = [];
    for (const { table, event } of changed) {
      if (table === "publishers") this.#verifier.forget(event.key);
      changes.push({ table, key: event.key, row: event.row } as RowChange);
    }
    if (changes.length > 0) onChanges(changes);
    for (const each of compared) {
      counts.digests++;
      if (each.differences.length === 0) continue;
      counts.digestMismatches++;
      onTrouble({ kind: "digest", stream, compared: each });
    }
  }

  /**
   * A stream that no longer reaches back to where we were at the last look, or that was emptied: what was lost with it only another
   * generation can know. Until that one takes over, this one reads the stream again from its start: versions make the
   * repetition harmless.
   */
  async #checkGaps(session: StreamSession): Promise<void> {
    const { counts, log, store, world, onTrouble } = this.#options;
    for (const [stream, position] of this.#positions) {
      if (!isGap(position, await session.info(stream), this.#anchors.get(stream))) {
        this.#anchors.set(stream, position);
        continue;
      }
      this.#take(() => {
        store.restart(stream, world.wallMs());
        return NOTHING_TAKEN;
      });
      // A stream that does not exist (any more) is a gap once, not at each look.
      this.#positions.set(stream, START);
      this.#furthest.set(stream, START);
      this.#anchors.set(stream, START);
      counts.gaps++;
      log.warn({ stream, position }, "gap in a state stream");
      onTrouble({ kind: "gap", stream, position });
    }
  }
}

const NOTHING_TAKEN: Taken = { changed: [], old: 0, compared: [], rewound: new Map() };

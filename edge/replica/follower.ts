/**
 * Follows the state streams into one store. Redis away means: keep what is here, say how stale it is, reconnect with
 * capped and jittered backoff.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { readEntry } from "../../control/contract/stream-entry.ts";
import type { RowChange } from "../routes/route-table.ts";
import { judgeBatch } from "./judge-event.ts";
import type { ReplicaWorld, StreamEntries, StreamSession } from "./ports.ts";
import type { ReplicaCounts } from "./replica-counts.ts";
import type { QuarantinedEvent, ReplicaStore, ValidEvent } from "./replica-store.ts";
import { isGap, START } from "./stream-gap.ts";

export const READ_COUNT = 1_000;
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
  readonly onChanges: (changes: RowChange[]) => void;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #positions = new Map<string, string>();
  readonly #stop = new AbortController();
  #session: StreamSession | null = null;
  #running: Promise<void> = Promise.resolve();
  #connected = false;
  #lastAnswerMs: number | null = null;
  #lastError: string | null = null;
  #caughtUp: (() => void) | null = null;

  constructor(options: FollowerOptions) {
    this.#options = options;
    const stored = options.store.positions();
    this.#follow(GLOBAL_STREAM, stored);
    for (const region of options.regions) this.#follow(regionStream(region), stored);
    if (options.regions.length === 0) {
      for (const stream of stored.keys()) if (stream.startsWith(REGION_PREFIX)) this.#follow(stream, stored);
    }
  }

  #follow(stream: string, stored: Map<string, string>): void {
    if (!this.#positions.has(stream)) this.#positions.set(stream, stored.get(stream) ?? START);
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
    let checkedMs = -Infinity, discoveredMs = -Infinity;
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
      const full = await this.#readOnce(session);
      this.#lastAnswerMs = world.nowMs();
      if (!this.#connected) log.info("following the state streams");
      this.#connected = true;
      onAnswer();
      // As much as one read takes means that we are behind, and a trim could overtake us.
      if (full) checkedMs = -Infinity;
    }
  }

  /** @returns true where there was as much as one read takes */
  async #readOnce(session: StreamSession): Promise<boolean> {
    // Until the first empty answer nothing is waited for, so that caughtUp() is prompt.
    const blockMs = this.#caughtUp === null ? READ_BLOCK_MS : 0;
    const found = await session.read(this.#positions, READ_COUNT, blockMs);
    if (found.length === 0) this.#tellCaughtUp();
    for (const each of found) this.#apply(each);
    return found.some(({ entries }) => entries.length >= READ_COUNT);
  }

  #tellCaughtUp(): void {
    this.#caughtUp?.();
    this.#caughtUp = null;
  }

  #apply({ stream, entries }: StreamEntries): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    const scope = stream === GLOBAL_STREAM ? "global" : stream.slice(REGION_PREFIX.length);
    const { store, world, onChanges, log, counts } = this.#options;
    const events: ValidEvent[] = [];
    const refused: QuarantinedEvent[] = [];
    for (const { id, fields } of entries) {
      const entry = readEntry(fields);
      if (entry?.kind === "digest") continue;
      for (const { json, judgement } of judgeBatch(entry?.payload ?? "", scope, entry?.owner ?? "")) {
        if (judgement.verdict === "apply") {
          events.push(judgement.valid);
          counts.unknownColumns += judgement.unknownColumns;
        } else if (judgement.verdict === "skip") {
          counts.unknownTable(judgement.table);
        } else {
          const { reason, detail } = judgement;
          refused.push({ stream, entryId: id, reason, detail, event: json });
          counts.quarantined(reason);
        }
      }
    }
    const changed = store.apply(stream, last.id, events, refused, world.wallMs());
    this.#positions.set(stream, last.id);
    counts.applied += changed.length;
    counts.old += events.length - changed.length;
    for (const bad of refused) {
      log.warn({ stream, entry: bad.entryId, reason: bad.reason, detail: bad.detail }, "event quarantined");
    }
    const newest = changed.at(-1);
    if (newest !== undefined) counts.lastLagMs = Math.max(0, world.wallMs() - newest.event.published_ms);
    const changes = changed.map(({ table, event }) =>
      ({ table, key: event.key, row: event.row }) as RowChange
    );
    if (changes.length > 0) onChanges(changes);
  }

  /**
   * A stream that no longer reaches back to our position, or that was emptied, is read again from its start and counted:
   * versions make the repetition harmless.
   */
  async #checkGaps(session: StreamSession): Promise<void> {
    const { counts, log } = this.#options;
    for (const [stream, position] of this.#positions) {
      if (!isGap(position, await session.info(stream))) continue;
      // A stream that does not exist (any more) is a gap once, not at each look.
      this.#positions.set(stream, START);
      counts.gaps++;
      log.warn({ stream, position }, "gap in a state stream; reading it again from its start");
    }
  }
}

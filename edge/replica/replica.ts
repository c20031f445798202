/**
 * Follows the state streams into the store and says what changed. It runs in the relay's process for now, and touches it
 * in one place, `onChanges`: that seam is where it becomes a process of its own.
 *
 * Redis away means: serve on from what is here, say how stale it is, reconnect with capped and jittered backoff. A
 * stream that no longer reaches back to our position, or that was emptied, is read again from its start and counted:
 * versions make the repetition harmless, but rows deleted in the part that is lost stay until snapshots come.
 */
import { Redis } from "ioredis";
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { TABLE_NAMES } from "../../control/contract/rows.ts";
import { readEntry } from "../../control/contract/stream-entry.ts";
import type { RowChange } from "../routes/route-table.ts";
import { judgeBatch } from "./judge-event.ts";
import type { QuarantinedEvent, ReplicaStore, ValidEvent } from "./replica-store.ts";
import { isGap, START } from "./stream-gap.ts";

export const READ_COUNT = 1_000;
/** How long one read waits for news; also how soon a new region's stream is taken up. */
export const READ_BLOCK_MS = 1_000;
/** A Redis that has not answered for this long is taken for dead. */
export const ANSWER_WAIT_MS = 5_000;
export const DISCOVERY_INTERVAL_MS = 1_000;
export const GAP_CHECK_INTERVAL_MS = 5_000;
export const BACKOFF_MS_MIN = 50;
export const BACKOFF_MS_MAX = 2_000;
const SCAN_COUNT = 1_000;
const REGION_PREFIX = regionStream("");

export interface ReplicaOptions {
  readonly redisUrl: string;
  readonly store: ReplicaStore;
  /** Empty: every region that has a stream. */
  readonly regions: readonly string[];
  readonly log: Logger;
  readonly onChanges: (changes: RowChange[]) => void;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
}

export interface ReplicaStatus {
  readonly connected: boolean;
  readonly streams: Record<string, string>;
  /** Since Redis last answered; null before its first answer. */
  readonly stale_ms: number | null;
  /** From the owner's commit to being routed here, of the newest event. */
  readonly last_lag_ms: number | null;
  readonly events_applied: number;
  readonly events_old: number;
  readonly events_quarantined: Record<string, number>;
  readonly unknown_tables: Record<string, number>;
  readonly unknown_columns: number;
  readonly gaps: number;
  /** Why the last connection to Redis ended; null while one stands. */
  readonly last_error: string | null;
  readonly reconnects: number;
}

type StreamReply = [stream: string, entries: [id: string, fields: string[]][]][] | null;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #positions: Map<string, string>;
  #redis: Redis | null = null;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  #wakeFromBackoff: (() => void) | null = null;
  #connected = false;
  #lastAnswerMs: number | null = null;
  #lastLagMs: number | null = null;
  #applied = 0;
  #old = 0;
  #quarantined: Record<string, number> = {};
  #unknownTables: Record<string, number> = {};
  #unknownColumns = 0;
  #gaps = 0;
  #lastError: string | null = null;
  #connectionError: Error | null = null;
  #reconnects = 0;
  #caughtUp: (() => void) | null = null;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const stored = options.store.positions();
    this.#positions = new Map();
    this.#follow(GLOBAL_STREAM, stored);
    for (const region of options.regions) this.#follow(regionStream(region), stored);
    if (options.regions.length === 0) {
      for (const stream of stored.keys()) if (stream.startsWith(REGION_PREFIX)) this.#follow(stream, stored);
    }
  }

  #follow(stream: string, stored: Map<string, string>): void {
    if (!this.#positions.has(stream)) this.#positions.set(stream, stored.get(stream) ?? START);
  }

  /** Everything that was applied in earlier lives of this edge. */
  stored(): RowChange[] {
    const changes: RowChange[] = [];
    for (const table of TABLE_NAMES) {
      for (const { key, row } of this.#options.store.rows(table)) {
        changes.push({ table, key, row } as RowChange);
      }
    }
    return changes;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves once a read has found nothing new, or could not be made. Call before `start`. */
  caughtUp(): Promise<void> {
    return new Promise((resolve) => this.#caughtUp = resolve);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#redis?.disconnect();
    this.#wakeFromBackoff?.();
    await this.#running;
  }

  status(): ReplicaStatus {
    const { nowMs } = this.#options;
    return {
      connected: this.#connected,
      streams: Object.fromEntries(this.#positions),
      stale_ms: this.#lastAnswerMs === null ? null : Math.round(nowMs() - this.#lastAnswerMs),
      last_lag_ms: this.#lastLagMs,
      events_applied: this.#applied,
      events_old: this.#old,
      events_quarantined: { ...this.#quarantined },
      unknown_tables: { ...this.#unknownTables },
      unknown_columns: this.#unknownColumns,
      gaps: this.#gaps,
      last_error: this.#connected ? null : this.#lastError,
      reconnects: this.#reconnects,
    };
  }

  // ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    const { log, random } = this.#options;
    let failures = 0;
    while (!this.#stopped) {
      try {
        await this.#session(() => failures = 0);
      } catch (error) {
        if (this.#stopped) return;
        this.#lastError = messageOf(this.#connectionError ?? error);
        if (failures === 0) {
          log.warn({ err: this.#lastError }, "the state streams cannot be read; serving on");
        }
        failures++;
        this.#reconnects++;
        // Nobody should wait for a Redis that is away.
        this.#caughtUp?.();
        this.#caughtUp = null;
      } finally {
        this.#connected = false;
        this.#redis?.disconnect();
        this.#redis = null;
      }
      if (this.#stopped) return;
      const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
      await this.#sleep(ceiling / 2 + random() * ceiling / 2);
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeFromBackoff = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One connection's life; ends by throwing. */
  async #session(onAnswer: () => void): Promise<void> {
    const redis = new Redis(this.#options.redisUrl, {
      lazyConnect: true,
      // ioredis 6 speaks RESP3 otherwise, where XREAD and XINFO answer in another shape.
      protocol: 2,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
      connectTimeout: ANSWER_WAIT_MS,
      commandTimeout: ANSWER_WAIT_MS,
    });
    // The rejected command only says that the connection is closed; the event says why.
    this.#connectionError = null;
    redis.on("error", (error: Error) => this.#connectionError = error);
    this.#redis = redis;
    await redis.connect();
    let checkedMs = -Infinity, discoveredMs = -Infinity;
    while (!this.#stopped) {
      const nowMs = this.#options.nowMs();
      if (this.#options.regions.length === 0 && nowMs - discoveredMs >= DISCOVERY_INTERVAL_MS) {
        discoveredMs = nowMs;
        await this.#discover(redis);
      }
      if (nowMs - checkedMs >= GAP_CHECK_INTERVAL_MS) {
        checkedMs = nowMs;
        await this.#checkGaps(redis);
      }
      const full = await this.#readOnce(redis);
      this.#lastAnswerMs = this.#options.nowMs();
      if (!this.#connected) this.#options.log.info("following the state streams");
      this.#connected = true;
      onAnswer();
      // A full batch means that we are behind, and a trim could overtake us.
      if (full) checkedMs = -Infinity;
    }
  }

  /** @returns true where there was as much as one read takes */
  async #readOnce(redis: Redis): Promise<boolean> {
    const streams = [...this.#positions.keys()];
    const positions = streams.map((stream) => this.#positions.get(stream)!);
    // Until the first empty answer nothing is waited for, so that caughtUp() is prompt.
    const block = this.#caughtUp === null ? ["BLOCK", READ_BLOCK_MS] : [];
    const reply = await redis.call(
      "XREAD",
      "COUNT",
      READ_COUNT,
      ...block,
      "STREAMS",
      ...streams,
      ...positions,
    ) as StreamReply;
    if (reply === null) {
      this.#caughtUp?.();
      this.#caughtUp = null;
      return false;
    }
    let full = false;
    for (const [stream, entries] of reply) {
      this.#applyEntries(stream, entries);
      if (entries.length >= READ_COUNT) full = true;
    }
    return full;
  }

  #applyEntries(stream: string, entries: [string, string[]][]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    const scope = stream === GLOBAL_STREAM ? "global" : stream.slice(REGION_PREFIX.length);
    const events: ValidEvent[] = [];
    const refused: QuarantinedEvent[] = [];
    for (const [entryId, fields] of entries) {
      const entry = readEntry(fields);
      if (entry?.kind === "digest") continue;
      for (const { json, judgement } of judgeBatch(entry?.payload ?? "", scope, entry?.owner ?? "")) {
        if (judgement.verdict === "apply") {
          events.push(judgement.valid);
          this.#unknownColumns += judgement.unknownColumns;
        } else if (judgement.verdict === "skip") {
          count(this.#unknownTables, judgement.table);
        } else {
          const { reason, detail } = judgement;
          refused.push({ stream, entryId, reason, detail, event: json });
          count(this.#quarantined, reason);
        }
      }
    }
    const { store, wallMs, onChanges, log } = this.#options;
    const changed = store.apply(stream, last[0], events, refused, wallMs());
    this.#positions.set(stream, last[0]);
    this.#applied += changed.length;
    this.#old += events.length - changed.length;
    for (const bad of refused) {
      log.warn({ stream, entry: bad.entryId, reason: bad.reason, detail: bad.detail }, "event quarantined");
    }
    const newest = changed.at(-1);
    if (newest !== undefined) this.#lastLagMs = Math.max(0, wallMs() - newest.event.published_ms);
    const changes = changed.map(({ table, event }) =>
      ({ table, key: event.key, row: event.row }) as RowChange
    );
    if (changes.length > 0) onChanges(changes);
  }

  // ── what streams there are, and whether they still reach back to us ────────────────────────────────────────────

  /** By key names: a region exists, for an edge, when somebody has published in it. */
  async #discover(redis: Redis): Promise<void> {
    let at = "0";
    do {
      const [next, keys] = await redis.scan(at, "MATCH", `${REGION_PREFIX}*`, "COUNT", SCAN_COUNT);
      for (const key of keys) {
        if (/^[a-z]{3}$/.test(key.slice(REGION_PREFIX.length))) this.#follow(key, new Map());
      }
      at = next;
    } while (at !== "0");
  }

  async #checkGaps(redis: Redis): Promise<void> {
    for (const [stream, position] of this.#positions) {
      let info: unknown[] | null;
      try {
        info = await redis.xinfo("STREAM", stream) as unknown[];
      } catch (error) {
        if (!messageOf(error).includes("no such key")) throw error;
        info = null;
      }
      if (!isGap(position, info === null ? null : streamInfo(info))) continue;
      // A stream that does not exist (any more) is a gap once, not at each look.
      this.#positions.set(stream, START);
      this.#gaps++;
      this.#options.log.warn({ stream, position }, "gap in a state stream; reading it again from its start");
    }
  }
}

function streamInfo(flat: unknown[]): { firstId: string | null; lastId: string; removed: number } {
  const of = (name: string) => flat[flat.indexOf(name) + 1];
  const first = of("first-entry") as [string, unknown] | null;
  return {
    firstId: first === null ? null : String(first[0]),
    lastId: String(of("last-generated-id")),
    removed: Number(of("entries-added")) - Number(of("length")),
  };
}

function count(counts: Record<string, number>, key: string): void {
  // Table names come from outside: past this many different ones they count together.
  const bounded = key in counts || Object.keys(counts).length < 32 ? key : "other";
  counts[bounded] = (counts[bounded] ?? 0) + 1;
}

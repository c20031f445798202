/**
 * Copies the state streams of an upstream Redis into a regional one. One loop: read, look whether what was read goes on
 * from the copy's end, write. Where one of the servers is away it tries again, with capped and jittered backoff; what
 * waits then waits in the upstream, so that memory stays bounded by one read.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { GLOBAL_STREAM, regionStream, STATE_STREAM_ENTRIES_MAX } from "../../control/contract/events.ts";
import type { RedisLinks } from "../replica/redis-links.ts";
import { nextReadCount, READ_COUNT_MIN } from "../replica/read-count.ts";
import type { RedisSession } from "../replica/redis-streams.ts";
import { START } from "../replica/stream-gap.ts";
import { type BeginReason, choosePlace, type CopyEnd, type Entry, type Sight } from "./choose-place.ts";
import { CopyWriter } from "./copy-writer.ts";
import { RelayCounts, type RelayStatus } from "./relay-counts.ts";

export const READ_BLOCK_MS = 1_000;
export const DISCOVERY_INTERVAL_MS = 1_000;
/** How long a place is believed while reads bring less than they could: nothing can have overtaken us meanwhile. */
export const LOOK_INTERVAL_MS = 1_000;
export const BACKOFF_MS_MIN = 50;
export const BACKOFF_MS_MAX = 2_000;

export interface StreamRelayOptions {
  readonly upstream: () => Promise<RedisSession<Buffer>>;
  readonly regional: () => Promise<RedisLinks>;
  /** Empty: every region that has a stream upstream. */
  readonly regions: readonly string[];
  readonly log: Logger;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly pause: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** @default STATE_STREAM_ENTRIES_MAX, as publishers trim */
  readonly entriesMax?: number;
}

interface Copy {
  /** How it ends in the regional Redis. */
  end: CopyEnd | null;
  /** Why it is to be begun anew with the next entries; null where it goes on from its end. */
  begin: BeginReason | null;
  isAnchored: boolean;
  /** Monotonic; -Infinity: look before anything is written. */
  lookedMs: number;
  entries: number;
}

export class StreamRelay {
  readonly #options: StreamRelayOptions;
  readonly #counts = new RelayCounts();
  readonly #copies = new Map<string, Copy>();
  readonly #stop = new AbortController();
  #readCount = READ_COUNT_MIN;
  #session: RedisSession<Buffer> | null = null;
  #writer: CopyWriter | null = null;
  #running: Promise<void> = Promise.resolve();
  #connected = false;
  #lastError: string | null = null;
  #answeredMs: number | null = null;
  #caughtUpMs: number | null = null;
  readonly #caughtUp = Promise.withResolvers<void>();

  constructor(options: StreamRelayOptions) {
    this.#options = options;
    this.#add(GLOBAL_STREAM);
    for (const region of options.regions) this.#add(regionStream(region));
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves once all that the upstream has was copied for the first time. */
  caughtUp(): Promise<void> {
    return this.#caughtUp.promise;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#close();
    await this.#running;
  }

  status(): RelayStatus {
    const counts = this.#counts;
    const sinceMs = (ms: number | null) => ms === null ? null : Math.round(this.#options.nowMs() - ms);
    return {
      connected: this.#connected,
      last_error: this.#connected ? null : this.#lastError,
      reconnects: counts.reconnects,
      stale_ms: sinceMs(this.#answeredMs),
      behind_ms: sinceMs(this.#caughtUpMs),
      last_lag_ms: counts.lastLagMs,
      entries_copied: counts.entries,
      bytes_copied: counts.bytes,
      overtaken: counts.overtaken,
      begun_anew: { ...counts.begun },
      streams: Object.fromEntries(
        Array.from(this.#copies, ([stream, { end, isAnchored, entries }]) => [
          stream,
          { position: end?.last?.id ?? null, anchored: isAnchored, entries },
        ]),
      ),
    };
  }

  #add(stream: string): void {
    if (this.#copies.has(stream)) return;
    this.#copies.set(stream, {
      end: null,
      begin: "no_copy",
      isAnchored: false,
      lookedMs: -Infinity,
      entries: 0,
    });
  }

  async #run(): Promise<void> {
    const { log, random, pause } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#copyConnected(() => failures = 0);
      } catch (error) {
        if (signal.aborted) return;
        this.#lastError = messageOf(error);
        if (failures++ === 0) {
          log.warn({ err: this.#lastError }, "the streams cannot be copied; will try again");
        }
        this.#counts.reconnects++;
      } finally {
        this.#connected = false;
        this.#close();
      }
      const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures, 10));
      await pause(ceiling / 2 + random() * ceiling / 2, signal);
    }
  }

  #close(): void {
    this.#session?.close();
    this.#writer?.close();
    this.#session = this.#writer = null;
  }

  /** The life of one pair of connections; ends by throwing. */
  async #copyConnected(onAnswer: () => void): Promise<void> {
    const { upstream, regional, regions, nowMs, log, entriesMax = STATE_STREAM_ENTRIES_MAX } = this.#options;
    const session = this.#session = await upstream();
    const writer = this.#writer = new CopyWriter(await regional(), entriesMax);
    // What happened to either server while we were away shows in how the streams stand now.
    for (const copy of this.#copies.values()) copy.lookedMs = -Infinity;
    for (let discoveredMs = -Infinity; !this.#stop.signal.aborted;) {
      if (regions.length === 0 && nowMs() - discoveredMs >= DISCOVERY_INTERVAL_MS) {
        discoveredMs = nowMs();
        for (const stream of await session.regionStreams()) this.#add(stream);
      }
      await this.#lookAt(session, writer, ({ lookedMs }) => lookedMs === -Infinity);
      const isFull = await this.#copyOnce(session, writer);
      this.#answeredMs = nowMs();
      if (!this.#connected) log.info("copying the state streams");
      this.#connected = true;
      onAnswer();
      if (!isFull) {
        this.#caughtUpMs = nowMs();
        this.#caughtUp.resolve();
      }
    }
  }

  /** @returns true where there was more than is copied by now */
  async #copyOnce(session: RedisSession<Buffer>, writer: CopyWriter): Promise<boolean> {
    const from = new Map(Array.from(this.#copies, ([stream, copy]) => [stream, placeOf(copy)]));
    const readCount = this.#readCount;
    const found = await session.read(from, readCount, this.#caughtUpMs === null ? 0 : READ_BLOCK_MS);
    const brought = new Map(found.map(({ stream, entries }) => [stream, entries.length]));
    const isFull = (stream: string) => (brought.get(stream) ?? 0) >= readCount;
    let isBehind = found.some(({ stream }) => isFull(stream));
    this.#readCount = nextReadCount(found);
    const nowMs = this.#options.nowMs();
    // After the read and before the write: if the upstream has our end now, it had it when it was read.
    await this.#lookAt(
      session,
      writer,
      ({ isAnchored, lookedMs }, stream) =>
        nowMs - lookedMs >= LOOK_INTERVAL_MS || isFull(stream) || (!isAnchored && brought.has(stream)),
    );
    for (const { stream, entries } of found) {
      const copy = this.#copies.get(stream)!;
      if (placeOf(copy) === from.get(stream)) await this.#write(writer, stream, copy, entries);
      else isBehind = true;
    }
    return isBehind;
  }

  /** All at once, because the upstream may be far away. */
  async #lookAt(
    session: RedisSession<Buffer>,
    writer: CopyWriter,
    isDue: (copy: Copy, stream: string) => boolean,
  ): Promise<void> {
    const due = [...this.#copies].filter(([stream, copy]) => isDue(copy, stream));
    await Promise.all(due.map(async ([stream, copy]) => {
      const sight = await this.#sight(session, writer, stream);
      const place = choosePlace(sight);
      copy.lookedMs = this.#options.nowMs();
      copy.end = sight.copy;
      copy.begin = place.kind === "begin" ? place.why : null;
      copy.isAnchored = place.kind === "follow" && place.isAnchored;
    }));
  }

  async #sight(session: RedisSession<Buffer>, writer: CopyWriter, stream: string): Promise<Sight> {
    const copy = await writer.end(stream);
    const last = copy?.last ?? null;
    const upstream = last === null ? null : await session.newestUpTo(stream, last.id);
    const isOurEnd = upstream === null || upstream.id === last!.id;
    const twin = isOurEnd ? last : await writer.entry(stream, upstream.id);
    const upstreamHasEntries = upstream !== null || (await session.info(stream))?.firstId != null;
    return { copy, upstream, twin, upstreamHasEntries };
  }

  async #write(writer: CopyWriter, stream: string, copy: Copy, entries: readonly Entry[]): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined) return;
    const counts = this.#counts;
    const { end, begin } = copy;
    if (!await writer.write({ stream, entries, seen: end, anew: begin !== null })) {
      counts.overtaken++;
      copy.lookedMs = -Infinity;
      return;
    }
    if (begin !== null) {
      counts.begun[begin]++;
      const level = begin === "no_copy" ? "info" : "warn";
      this.#options.log[level]({ stream, why: begin }, "the copy of a stream was begun anew");
    }
    copy.end = { last, lastId: last.id };
    copy.begin = null;
    copy.isAnchored = true;
    copy.entries += entries.length;
    counts.entries += entries.length;
    for (const { fields } of entries) for (const field of fields) counts.bytes += field.length;
    counts.lastLagMs = Math.max(0, this.#options.wallMs() - Number(last.id.split("-")[0]));
  }
}

/** Read from here. */
function placeOf({ end, begin }: Copy): string {
  return begin === null ? end!.last!.id : START;
}

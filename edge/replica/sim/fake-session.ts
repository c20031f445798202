/**
 * One client's connections to the fake Redis: every call takes time both ways, and may be lost on its way, or its answer
 * on the way back. A call that is given up after `ANSWER_WAIT_MS` may still be carried out when a stall ends.
 */
import type { StreamEntries, StreamSession } from "../ports.ts";
import { ANSWER_WAIT_MS } from "../redis-links.ts";
import type { StreamInfo } from "../stream-gap.ts";
import type { FakeRedis } from "./fake-redis.ts";
import type { World } from "./world.ts";

export const LATENCY_MS_MIN = 0.2;
export const LATENCY_MS_MAX = 3;

/** What is wrong with the network at the moment. */
export interface NetworkFaults {
  /** Of calls, and again of answers. */
  lossRate: number;
}

export class FakeSession implements StreamSession {
  readonly #world: World;
  readonly #redis: FakeRedis;
  readonly #faults: NetworkFaults;
  readonly #stopHearing: () => void;
  readonly #onEnd = new Set<(why: Error) => void>();
  #ended: Error | null = null;

  constructor(world: World, redis: FakeRedis, faults: NetworkFaults) {
    this.#world = world;
    this.#redis = redis;
    this.#faults = faults;
    this.#stopHearing = redis.onKill(() => this.#end("the connection was lost"));
  }

  // ── what a replica asks ────────────────────────────────────────────────────────────────────────────────────────

  regionStreams(): Promise<string[]> {
    return this.call(() => this.#redis.regionStreams);
  }
  info(stream: string): Promise<StreamInfo | null> {
    return this.call(() => this.#redis.info(stream));
  }

  async read(
    positions: ReadonlyMap<string, string>,
    countMax: number,
    blockMs: number,
  ): Promise<StreamEntries[]> {
    const asked = new Map(positions);
    await this.#arrive(() => {});
    let found = this.#redis.read(asked, countMax);
    if (found.length === 0 && blockMs > 0) {
      const stream = await this.#news(asked, blockMs);
      // What wakes a reader is one stream, and the answer holds that one alone.
      if (stream !== null) found = this.#redis.read(new Map([[stream, asked.get(stream)!]]), countMax);
    }
    await this.#pass();
    return found;
  }

  close(): void {
    this.#end("Connection is closed.");
  }

  // ── what a publisher asks ──────────────────────────────────────────────────────────────────────────────────────

  /** @param id null: by the clock */
  append(
    stream: string,
    fields: readonly string[],
    entriesMax: number,
    id: string | null = null,
  ): Promise<string> {
    return this.call(() => {
      const made = this.#redis.append(stream, fields, id);
      const trimmed = this.#redis.trim(stream, entriesMax);
      if (trimmed > 0) this.#world.trace.sometimes("a stream was trimmed");
      return made;
    });
  }
  holds(stream: string, id: string): Promise<boolean> {
    return this.call(() => this.#redis.holds(stream, id));
  }

  // ── the way there and back ─────────────────────────────────────────────────────────────────────────────────────

  async call<T>(effect: () => T): Promise<T> {
    await this.#arrive(effect);
    const answer = effect();
    await this.#pass();
    return answer;
  }

  async #arrive(effect: () => unknown): Promise<void> {
    await this.#pass();
    const stalledMs = this.#redis.stalledMs;
    if (stalledMs > 0) await this.#stalled(stalledMs, effect);
  }

  /** One way over the network. */
  async #pass(): Promise<void> {
    const { chance, trace } = this.#world;
    await this.#orEnd(LATENCY_MS_MIN + chance.random() * (LATENCY_MS_MAX - LATENCY_MS_MIN));
    if (!chance.happens(this.#faults.lossRate)) return;
    trace.sometimes("a connection was lost at a call");
    this.#end("the connection was lost");
    throw this.#ended!;
  }

  async #stalled(stalledMs: number, effect: () => unknown): Promise<void> {
    this.#world.trace.sometimes("a call met a stall");
    if (stalledMs <= ANSWER_WAIT_MS) return await this.#orEnd(stalledMs);
    await this.#orEnd(ANSWER_WAIT_MS);
    this.#world.trace.sometimes("a call was given up");
    // It lies in the server's socket all the same.
    this.#world.after(stalledMs - ANSWER_WAIT_MS, () => {
      try {
        if (!this.#redis.isAway) effect();
      } catch {
        // Refused, and nobody hears of it.
      }
    });
    this.#end("Command timed out");
    throw this.#ended!;
  }

  /** @returns the stream that has news, null where none has for so long */
  #news(positions: ReadonlyMap<string, string>, blockMs: number): Promise<string | null> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(this.#ended);
      const done = (settle: () => void) => {
        this.#world.cancel(timer);
        stopWaiting();
        this.#onEnd.delete(ended);
        settle();
      };
      const ended = (why: Error) => done(() => reject(why));
      const timer = this.#world.after(blockMs, () => done(() => resolve(null)));
      const stopWaiting = this.#redis.wait(positions, (stream) => done(() => resolve(stream)));
      this.#onEnd.add(ended);
    });
  }

  #orEnd(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(this.#ended);
      const ended = (why: Error) => {
        this.#world.cancel(timer);
        reject(why);
      };
      const timer = this.#world.after(ms, () => {
        this.#onEnd.delete(ended);
        resolve();
      });
      this.#onEnd.add(ended);
    });
  }

  #end(why: string): void {
    if (this.#ended !== null) return;
    this.#ended = new Error(why);
    this.#stopHearing();
    for (const each of [...this.#onEnd]) each(this.#ended);
    this.#onEnd.clear();
  }
}

/** @param onMade the client has a socket, and closes it where it ends before Redis answers */
export function connectFake(
  world: World,
  redis: FakeRedis,
  faults: NetworkFaults,
  onMade: (session: FakeSession) => void = () => {},
): Promise<FakeSession> {
  const session = new FakeSession(world, redis, faults);
  onMade(session);
  return session.call(() => {
    if (!redis.isAway) return session;
    session.close();
    throw new Error("connect ECONNREFUSED");
  });
}

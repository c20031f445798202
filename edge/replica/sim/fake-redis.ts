/**
 * The streams of a Redis, and what happens to one: a failover that loses what the new primary had not got yet, a server
 * that was emptied, a trim, a stall. `redis-contract.test.ts` holds it against the real one. How clients reach it, and
 * what goes wrong on the way, is `fake-session.ts`.
 */
import { assert } from "../../../control/contract/errors.ts";
import { regionStream } from "../../../control/contract/events.ts";
import type { StreamEntries } from "../ports.ts";
import { compareIds, START, type StreamInfo } from "../stream-gap.ts";
import type { World } from "./world.ts";

interface Entry {
  readonly id: string;
  readonly fields: readonly string[];
  /** Which append of the whole server it was: a failover cuts all streams at the same moment. */
  readonly append: number;
}
interface Stream {
  entries: Entry[];
  lastId: string;
  added: number;
}
interface Waiter {
  readonly positions: ReadonlyMap<string, string>;
  readonly wake: (stream: string) => void;
}

export class FakeRedis {
  readonly #world: World;
  readonly #streams = new Map<string, Stream>();
  readonly #waiters = new Set<Waiter>();
  readonly #onKill = new Set<() => void>();
  #appends = 0;
  /** Its clock makes the ids; another primary has another clock. */
  #clockMs = 0;
  #stalledUntilMs = 0;
  #awayUntilMs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  // ── commands ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param id null: by the clock, as `*` */
  append(name: string, fields: readonly string[], id: string | null = null): string {
    const lastId = this.#streams.get(name)?.lastId ?? START;
    const made = id ?? this.#nextId(lastId);
    if (compareIds(made, lastId) <= 0) throw new Error("ERR The ID specified in XADD is equal or smaller");
    const stream = this.#streams.get(name) ?? { entries: [], lastId, added: 0 };
    this.#streams.set(name, stream);
    stream.entries.push({ id: made, fields: [...fields], append: ++this.#appends });
    stream.lastId = made;
    stream.added++;
    for (const waiter of [...this.#waiters]) {
      const position = waiter.positions.get(name);
      if (position !== undefined && compareIds(made, position) > 0) waiter.wake(name);
    }
    return made;
  }

  #nextId(lastId: string): string {
    const nowMs = this.#world.wallMs + this.#clockMs;
    const [lastMs = 0, lastSequence = 0] = lastId.split("-").map(Number);
    return nowMs > lastMs ? `${nowMs}-0` : `${lastMs}-${lastSequence + 1}`;
  }

  /** @returns how many entries went */
  trim(name: string, entriesMax: number): number {
    const entries = this.#streams.get(name)?.entries ?? [];
    return entries.splice(0, Math.max(0, entries.length - entriesMax)).length;
  }

  delete(name: string): void {
    this.#streams.delete(name);
  }

  info(name: string): StreamInfo | null {
    const stream = this.#streams.get(name);
    if (stream === undefined) return null;
    return {
      firstId: stream.entries[0]?.id ?? null,
      lastId: stream.lastId,
      removed: stream.added - stream.entries.length,
    };
  }

  /** XRANGE ID ID. */
  holds(name: string, id: string): boolean {
    return this.#streams.get(name)?.entries.some((entry) => entry.id === id) ?? false;
  }

  read(positions: ReadonlyMap<string, string>, countMax: number): StreamEntries[] {
    const found: StreamEntries[] = [];
    for (const [stream, position] of positions) {
      const entries = this.#streams.get(stream)?.entries ?? [];
      // From the end: who follows a stream misses little of it.
      let from = entries.length;
      while (from > 0 && compareIds(entries[from - 1]!.id, position) > 0) from--;
      if (from < entries.length) {
        const taken = entries.slice(from, from + countMax).map(({ id, fields }) => ({ id, fields }));
        found.push({ stream, entries: taken });
      }
    }
    return found;
  }

  get names(): string[] {
    return [...this.#streams.keys()];
  }
  get regionStreams(): string[] {
    return this.names.filter((name) => name.startsWith(regionStream("")));
  }
  length(name: string): number {
    return this.#streams.get(name)?.entries.length ?? 0;
  }

  /** Calls `wake` with the stream that got an entry behind its position, each time. @returns how to end it */
  wait(positions: ReadonlyMap<string, string>, wake: (stream: string) => void): () => void {
    const waiter = { positions, wake };
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }
  get waiters(): number {
    return this.#waiters.size;
  }

  // ── what happens to it ─────────────────────────────────────────────────────────────────────────────────────────

  /** All connections end. */
  kill(): void {
    for (const each of [...this.#onKill]) each();
  }
  /** @returns how to end it */
  onKill(heard: () => void): () => void {
    this.#onKill.add(heard);
    return () => this.#onKill.delete(heard);
  }
  get connections(): number {
    return this.#onKill.size;
  }

  /** The last appends are gone, though they had been acknowledged. @param clockMs the new primary's, against ours */
  failOver(lostAppends: number, clockMs = 0): void {
    const kept = this.#appends - lostAppends;
    for (const [name, stream] of this.#streams) {
      const lost = stream.entries.length - stream.entries.filter(({ append }) => append <= kept).length;
      if (lost === 0) continue;
      stream.entries.length -= lost;
      stream.added -= lost;
      const last = stream.entries.at(-1);
      if (last === undefined) this.#streams.delete(name);
      else stream.lastId = last.id;
    }
    assert(clockMs <= 0, "a clock ahead shows nothing that a clock behind does not");
    this.#clockMs = clockMs;
    this.kill();
  }

  /** It comes back with nothing. */
  empty(): void {
    this.#streams.clear();
    this.kill();
  }

  /** It answers nobody until then. */
  stall(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.#world.nowMs + ms);
  }
  /** Nobody can connect until then. */
  leave(ms: number): void {
    this.#awayUntilMs = Math.max(this.#awayUntilMs, this.#world.nowMs + ms);
    this.kill();
  }
  recover(): void {
    this.#stalledUntilMs = this.#awayUntilMs = 0;
  }
  get isAway(): boolean {
    return this.#world.nowMs < this.#awayUntilMs;
  }
  get stalledMs(): number {
    return Math.max(0, this.#stalledUntilMs - this.#world.nowMs);
  }
}

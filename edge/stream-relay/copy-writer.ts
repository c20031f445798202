/**
 * Writes to the regional Redis. Entries keep their ids and bytes. Each is appended by a step of its own that is made only
 * where the stream still ends with the entry before it: a Redis that was emptied meanwhile, or another relay, makes all
 * that follows come to nothing, and the place is chosen anew.
 *
 * No step changes two things, because Redis 7.0 forgets transactions of the append-only file, a script's included, where
 * its user `default` may do nothing: entries between others would be missing after a restart.
 */
import type { Redis } from "ioredis";
import { messageOf } from "../../control/contract/errors.ts";
import type { RedisLinks } from "../replica/redis-links.ts";
import { BYTES, readNewestUpTo } from "../replica/stream-commands.ts";
import { type CopyEnd, type Entry, isSameEntry } from "./choose-place.ts";

/** Lua takes about 8,000 values at once. */
const SCRIPT_FIELDS_MAX = 4_000;

const APPEND = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last == nil then
  if ARGV[1] ~= '' or redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
elseif last[1] ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[3], unpack(ARGV, 4))
return 1`;

export interface Write {
  readonly stream: string;
  /** In order, one or more. */
  readonly entries: readonly Entry[];
  /** How the stream must end by now; null: it must not be there. */
  readonly seen: CopyEnd | null;
  /** Whatever it holds is removed first. */
  readonly anew: boolean;
}

export class CopyWriter {
  readonly #links: RedisLinks;
  readonly #entriesMax: number;
  /** Server → what it calls the script. */
  readonly #scripts = new Map<Redis, string>();

  /** @param entriesMax that a stream is trimmed to, about */
  constructor(links: RedisLinks, entriesMax: number) {
    this.#links = links;
    this.#entriesMax = entriesMax;
  }

  async end(stream: string): Promise<CopyEnd | null> {
    return await readEnd(this.#links.of(stream), stream);
  }

  /** What stands under the id; null where nothing does. */
  async entry(stream: string, id: string): Promise<Entry | null> {
    const found = await readNewestUpTo(this.#links.of(stream), BYTES, stream, id);
    return found?.id === id ? found : null;
  }

  /** @returns false where the stream ended otherwise than expected; the first of the entries may be written by then */
  async write({ stream, entries, seen, anew }: Write): Promise<boolean> {
    if (anew && seen !== null && !await this.#alone(stream, seen, (step) => step.del(stream))) return false;
    let before = anew ? null : seen;
    for (let from = 0; from < entries.length;) {
      const isLarge = ({ fields }: Entry) => fields.length > SCRIPT_FIELDS_MAX;
      const upTo = entries.findIndex((entry, n) => n >= from && isLarge(entry));
      const run = entries.slice(from, upTo < 0 ? entries.length : upTo);
      const last = run.at(-1) ?? entries[from]!;
      const isWritten = run.length > 0
        ? await this.#appendAll(stream, before?.last?.id ?? "", run)
        : await this.#alone(stream, before, (step) =>
          step.xadd(stream, "MAXLEN", "~", this.#entriesMax, last.id, ...last.fields));
      if (!isWritten) return false;
      before = { last, lastId: last.id };
      from += Math.max(1, run.length);
    }
    return true;
  }

  /** @param before the id that the stream must end with; empty: it must not be there */
  async #appendAll(stream: string, before: string, entries: readonly Entry[]): Promise<boolean> {
    const redis = this.#links.of(stream);
    const script = this.#scripts.get(redis) ?? String(await redis.script("LOAD", APPEND));
    this.#scripts.set(redis, script);
    const pipeline = redis.pipeline();
    for (const { id, fields } of entries) {
      pipeline.evalsha(script, 1, stream, before, this.#entriesMax, id, ...fields);
      before = id;
    }
    let isWritten = true;
    for (const [error, answer] of await pipeline.exec() ?? []) {
      if (error !== null) throw error;
      if (answer !== 1) isWritten = false;
    }
    return isWritten;
  }

  /** One command, where the stream ends so. */
  async #alone(
    stream: string,
    seen: CopyEnd | null,
    add: (step: ReturnType<Redis["multi"]>) => unknown,
  ): Promise<boolean> {
    const redis = this.#links.of(stream);
    await redis.watch(stream);
    if (!isSameEnd(await readEnd(redis, stream), seen)) {
      await redis.unwatch();
      return false;
    }
    const step = redis.multi();
    add(step);
    const answers = await step.exec();
    if (answers === null) return false;
    for (const [error] of answers) if (error !== null) throw error;
    return true;
  }

  close(): void {
    this.#links.close();
  }
}

function isSameEnd(a: CopyEnd | null, b: CopyEnd | null): boolean {
  if (a === null || b === null) return a === b;
  if (a.last === null || b.last === null) return a.last === b.last && a.lastId === b.lastId;
  return a.lastId === b.lastId && isSameEntry(a.last, b.last);
}

async function readEnd(redis: Redis, stream: string): Promise<CopyEnd | null> {
  let flat: unknown[];
  try {
    flat = await redis.callBuffer("XINFO", "STREAM", stream) as unknown[];
  } catch (error) {
    if (messageOf(error).includes("no such key")) return null;
    throw error;
  }
  const of = (name: string) =>
    flat[flat.findIndex((part) => part instanceof Buffer && String(part) === name) + 1];
  const last = of("last-entry") as [Buffer, Buffer[]] | null;
  return {
    last: last === null ? null : { id: String(last[0]), fields: last[1] },
    lastId: String(of("last-generated-id")),
  };
}

/** The state streams of a Redis. A command that is not answered in time ends its connection; whoever follows makes another. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { messageOf } from "../../control/contract/errors.ts";
import { regionStream } from "../../control/contract/events.ts";
import type { StateStreams, StreamEntries, StreamSession } from "./ports.ts";
import type { StreamInfo } from "./stream-gap.ts";

/** A Redis that has not answered for this long is taken for dead. A read may wait for news besides. */
export const ANSWER_WAIT_MS = 5_000;
const SCAN_COUNT = 1_000;
const REGION_PREFIX = regionStream("");

type StreamReply = [stream: string, entries: [id: string, fields: string[]][]][] | null;

/**
 * @param url `redis://user:password@host:port/0` or `rediss://…`
 * @param caFile PEM: who may have signed a `rediss:` server's certificate; none: the authorities that the runtime knows
 */
export function redisStreams(url: string, caFile?: string): StateStreams {
  return {
    async connect() {
      const redis = new Redis(url, {
        lazyConnect: true,
        // ioredis 6 speaks RESP3 otherwise, where XREAD and XINFO answer in another shape.
        protocol: 2,
        retryStrategy: () => null,
        maxRetriesPerRequest: 0,
        enableReadyCheck: false,
        connectTimeout: ANSWER_WAIT_MS,
        commandTimeout: ANSWER_WAIT_MS,
        // Read for each connection, so that a renewed file is heeded.
        ...(caFile === undefined || !url.startsWith("rediss:")
          ? {}
          : { tls: { ca: readFileSync(caFile, "utf8") } }),
      });
      const session = new RedisSession(redis);
      await session.answer(() => redis.connect());
      return session;
    },
  };
}

class RedisSession implements StreamSession {
  readonly #redis: Redis;
  #why: Error | null = null;

  constructor(redis: Redis) {
    this.#redis = redis;
    redis.on("error", (error: Error) => this.#why = error);
  }

  /** A rejected command only says that the connection is closed; the event says why. */
  async answer<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      this.close();
      throw this.#why ?? error;
    }
  }

  regionStreams(): Promise<string[]> {
    return this.answer(async () => {
      const found: string[] = [];
      let at = "0";
      do {
        const [next, keys] = await this.#redis.scan(at, "MATCH", `${REGION_PREFIX}*`, "COUNT", SCAN_COUNT);
        for (const key of keys) if (/^[a-z]{3}$/.test(key.slice(REGION_PREFIX.length))) found.push(key);
        at = next;
      } while (at !== "0");
      return [...new Set(found)];
    });
  }

  info(stream: string): Promise<StreamInfo | null> {
    return this.answer(async () => {
      try {
        return streamInfo(await this.#redis.xinfo("STREAM", stream) as unknown[]);
      } catch (error) {
        if (messageOf(error).includes("no such key")) return null;
        throw error;
      }
    });
  }

  read(positions: ReadonlyMap<string, string>, countMax: number, blockMs: number): Promise<StreamEntries[]> {
    return this.answer(async () => {
      // To Redis, 0 would be for ever.
      const block = blockMs > 0 ? ["BLOCK", blockMs] : [];
      const streams = [...positions.keys(), ...positions.values()];
      const reply = await this.#redis.call(
        "XREAD",
        ...["COUNT", countMax, ...block, "STREAMS", ...streams],
      ) as StreamReply;
      return (reply ?? []).map(([stream, entries]) => ({
        stream,
        entries: entries.map(([id, fields]) => ({ id, fields })),
      }));
    });
  }

  close(): void {
    this.#redis.disconnect();
  }
}

function streamInfo(flat: unknown[]): StreamInfo {
  const of = (name: string) => flat[flat.indexOf(name) + 1];
  const first = of("first-entry") as [string, unknown] | null;
  return {
    firstId: first === null ? null : String(first[0]),
    lastId: String(of("last-generated-id")),
    removed: Number(of("entries-added")) - Number(of("length")),
  };
}

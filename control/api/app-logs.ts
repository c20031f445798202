/**
 * An app's log lines as NDJSON: the last ones from its Redis stream, then, with `follow`, the live ones. A follower
 * blocks in XREAD, so each has a connection of its own, and there are at most LOG_FOLLOWERS_MAX of them.
 */
import type { Redis } from "ioredis";
import { z } from "zod";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { LOG_STREAM_ENTRIES_MAX, LogLine, logStream } from "../contract/events.ts";
import { MachineId } from "../contract/names.ts";
import type { LogRedis } from "../publish/redis.ts";
import type { ApiParts } from "./context.ts";
import { validate } from "./validate.ts";

export const LOG_FOLLOWERS_MAX = 64;
export const LOG_TAIL_DEFAULT = 100;
export const LOG_HEARTBEAT_MS = 15_000;
const chunkEntries = 500;

export const LogQuery = z.object({
  tail: z.coerce.number().int().min(0).max(LOG_STREAM_ENTRIES_MAX).default(LOG_TAIL_DEFAULT),
  follow: z.enum(["0", "1", "true", "false"]).default("0").transform((v) => v === "1" || v === "true"),
  machine: MachineId.nullable().default(null),
});
export type LogQuery = z.infer<typeof LogQuery>;

export function readLogQuery(parameters: URLSearchParams): LogQuery {
  return validate(LogQuery as z.ZodType<LogQuery>, Object.fromEntries(parameters), {
    code: "api.log_query_invalid",
    what: "log query",
    hint: `tail: 0 to ${LOG_STREAM_ENTRIES_MAX}; follow: 0 or 1; machine: a machine id.`,
  });
}

/** The followers of this process. */
export class LogFollowers {
  #count = 0;
  readonly #parts: ApiParts;

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  async answer(appId: string, query: LogQuery, signal: AbortSignal): Promise<Response> {
    const stream = logStream(appId);
    const { lines, lastId } = await this.#redisAway(() => readTail(this.#parts.redis, stream, query));
    const head = lines.map((line) => JSON.stringify(line) + "\n").join("");
    const headers = { "content-type": "application/x-ndjson", "cache-control": "no-store" };
    if (!query.follow) return new Response(head, { headers });
    const reader = await this.#openReader(stream);
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      signal.removeEventListener("abort", close);
      reader.disconnect();
      this.#closed();
    };
    signal.addEventListener("abort", close, { once: true });
    if (signal.aborted) close();
    const live = followStream(reader, stream, lastId, query, signal);
    return new Response(withHead(head, live, close), { headers });
  }

  async #openReader(stream: string): Promise<Redis> {
    if (this.#count >= LOG_FOLLOWERS_MAX) {
      this.#parts.metrics.limitsMet.inc({ limit: "log_followers" });
      throw new GodwitError(
        "api.too_many_followers",
        `Cannot follow the logs: ${LOG_FOLLOWERS_MAX} clients do already`,
        { fault: "us", retryable: true, hint: "Try again later, or ask without follow." },
      );
    }
    this.#parts.metrics.logFollowers.set(++this.#count);
    const reader = this.#parts.newRedisReader(stream);
    try {
      await this.#redisAway(() => reader.connect());
      return reader;
    } catch (error) {
      reader.disconnect();
      this.#closed();
      throw error;
    }
  }

  #closed(): void {
    this.#parts.metrics.logFollowers.set(--this.#count);
  }

  async #redisAway<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new GodwitError("api.redis_unavailable", `Cannot read logs from Redis: ${messageOf(error)}`, {
        fault: "us",
        retryable: true,
        hint: "Check that Redis runs.",
        cause: error,
      });
    }
  }
}

type Entry = [id: string, fields: string[]];

/** The last `tail` lines in order, and the stream position after them. */
async function readTail(redis: LogRedis, stream: string, query: LogQuery) {
  const lines: LogLine[] = [];
  let lastId: string | null = null;
  let end = "+";
  for (let looked = 0; looked < LOG_STREAM_ENTRIES_MAX; looked += chunkEntries) {
    const entries: Entry[] = await redis.xrevrange(stream, end, "-", "COUNT", chunkEntries);
    lastId ??= entries[0]?.[0] ?? "0-0";
    for (const entry of entries) {
      if (lines.length >= query.tail) return { lines: lines.reverse(), lastId };
      const line = lineOf(entry, query);
      if (line !== null) lines.push(line);
    }
    if (entries.length < chunkEntries) break;
    end = `(${entries.at(-1)![0]}`;
  }
  return { lines: lines.reverse(), lastId: lastId ?? "0-0" };
}

/** null for another machine's line, and for what is no line. */
function lineOf([, fields]: Entry, query: LogQuery): LogLine | null {
  const record: Record<string, unknown> = {};
  for (let i = 0; i + 1 < fields.length; i += 2) record[fields[i]!] = fields[i + 1];
  const line = LogLine.safeParse({ ...record, at_ms: Number(record.at_ms) });
  if (!line.success) return null;
  return query.machine === null || line.data.machine === query.machine ? line.data : null;
}

async function* followStream(
  redis: Redis,
  stream: string,
  fromId: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<string> {
  try {
    for (let id = fromId; !signal.aborted;) {
      const read = await redis.xread("COUNT", chunkEntries, "BLOCK", LOG_HEARTBEAT_MS, "STREAMS", stream, id);
      const entries = (read?.[0]?.[1] ?? []) as Entry[];
      id = entries.at(-1)?.[0] ?? id;
      const lines = entries.flatMap((entry) => lineOf(entry, query) ?? []);
      yield lines.length === 0 ? "\n" : lines.map((line) => JSON.stringify(line) + "\n").join("");
    }
  } catch (error) {
    // The client has gone, or Redis has: either way the stream ends, and a client that is left follows anew.
    if (!signal.aborted) yield JSON.stringify(endOf(error)) + "\n";
  }
}

function endOf(error: unknown): LogLine {
  const line = `logs end here: Redis cannot be read: ${messageOf(error)}`;
  return { machine: "", region: "", stream: "system", at_ms: Date.now(), line };
}

/** @param close Called at the end whoever ends it; a client that leaves before its first read never starts `live`. */
function withHead(
  head: string,
  live: AsyncGenerator<string>,
  close: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      if (head !== "") controller.enqueue(encoder.encode(head));
    },
    async pull(controller) {
      const { value, done } = await live.next();
      if (done !== true) return controller.enqueue(encoder.encode(value));
      close();
      controller.close();
    },
    cancel: close,
  });
}

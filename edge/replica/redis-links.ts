/**
 * The connections of one session with the Redis of the state streams. Where any of them ends, so does the session, and
 * whoever follows makes another: nothing here tries again.
 */
import { Redis } from "ioredis";
import { keySlot, primariesOf, primaryOf, type SlotRange } from "../../control/contract/cluster-slots.ts";
import { ClusterServers, redisOptions, serverOptions } from "../../control/contract/redis-connection.ts";
import { parseRedisUrl, type RedisHost } from "../../control/contract/redis-url.ts";

/** A Redis that has not answered for this long is taken for dead. A read may wait for news besides. */
export const ANSWER_WAIT_MS = 5_000;

export interface RedisLinks {
  /** All streams lie on one server, so that one command may read several. */
  readonly isOne: boolean;
  /** One for each server that has streams. */
  readonly primaries: readonly Redis[];
  /** For commands that are answered at once. */
  of(stream: string): Redis;
  /** For commands that wait for news of this stream; nothing else is sent there meanwhile. */
  waiting(stream: string): Promise<Redis>;
  /** Why the first connection that was lost was lost; null where none was. */
  readonly why: Error | null;
  close(): void;
}

const POLICY = {
  lazyConnect: true,
  retryStrategy: () => null,
  maxRetriesPerRequest: 0,
  connectTimeout: ANSWER_WAIT_MS,
  commandTimeout: ANSWER_WAIT_MS,
} as const;

/** @returns how to open links; where Redis is a cluster it remembers its servers from one time to the next */
export function redisLinks(url: string, caFile?: string): () => Promise<RedisLinks> {
  const address = parseRedisUrl(url);
  if (address.topology !== "cluster") {
    const isSingle = address.topology === "single";
    return () =>
      OneServer.open(
        new Redis({
          ...redisOptions(url, { caFile, retryMs: null }),
          ...POLICY,
          // One that Sentinel named is asked whether it is a primary.
          enableReadyCheck: !isSingle,
          // Whoever gets such an answer ends the session.
          reconnectOnError: null,
        }),
      );
  }
  const servers = new ClusterServers(address, caFile);
  const connectTo = ({ host, port }: RedisHost) =>
    new Redis({ ...serverOptions(address, caFile), ...POLICY, enableReadyCheck: false, host, port });
  return async () => {
    const ranges = await servers.slots();
    return await ManyServers.open(ranges, connectTo);
  };
}

class OneServer implements RedisLinks {
  readonly isOne = true;
  readonly primaries: readonly Redis[];
  readonly #redis: Redis;
  why: Error | null = null;

  private constructor(redis: Redis) {
    this.#redis = redis;
    this.primaries = [redis];
    redis.on("error", (error: Error) => this.why ??= error);
  }

  static async open(redis: Redis): Promise<OneServer> {
    const links = new OneServer(redis);
    return await connected(links, [redis]);
  }

  of(): Redis {
    return this.#redis;
  }
  waiting(): Promise<Redis> {
    return Promise.resolve(this.#redis);
  }
  close(): void {
    this.#redis.disconnect();
  }
}

class ManyServers implements RedisLinks {
  readonly isOne = false;
  readonly primaries: readonly Redis[];
  readonly #ranges: readonly SlotRange[];
  readonly #byServer = new Map<string, Redis>();
  readonly #waiting = new Map<string, Redis>();
  readonly #connectTo: (host: RedisHost) => Redis;
  #isClosed = false;
  why: Error | null = null;

  private constructor(ranges: readonly SlotRange[], connectTo: (host: RedisHost) => Redis) {
    this.#ranges = ranges;
    this.#connectTo = connectTo;
    for (const host of primariesOf(ranges)) {
      this.#byServer.set(serverName(host), this.#heard(connectTo(host)));
    }
    this.primaries = [...this.#byServer.values()];
  }

  static async open(
    ranges: readonly SlotRange[],
    connectTo: (host: RedisHost) => Redis,
  ): Promise<ManyServers> {
    const links = new ManyServers(ranges, connectTo);
    return await connected(links, links.primaries);
  }

  of(stream: string): Redis {
    return this.#byServer.get(serverName(this.#owner(stream)))!;
  }

  async waiting(stream: string): Promise<Redis> {
    const found = this.#waiting.get(stream);
    if (found !== undefined) return found;
    if (this.#isClosed) throw new Error("the session is closed");
    const redis = this.#heard(this.#connectTo(this.#owner(stream)));
    this.#waiting.set(stream, redis);
    await redis.connect();
    return redis;
  }

  close(): void {
    this.#isClosed = true;
    for (const redis of [...this.primaries, ...this.#waiting.values()]) redis.disconnect();
  }

  #owner(stream: string): RedisHost {
    const owner = primaryOf(this.#ranges, keySlot(stream));
    if (owner === null) throw new Error(`no server of the cluster has the slot of ${stream}`);
    return owner;
  }

  #heard(redis: Redis): Redis {
    redis.on("error", (error: Error) => this.why ??= error);
    return redis;
  }
}

async function connected<L extends RedisLinks>(links: L, all: readonly Redis[]): Promise<L> {
  try {
    await Promise.all(all.map((redis) => redis.connect()));
    return links;
  } catch (error) {
    links.close();
    throw links.why ?? error;
  }
}

function serverName({ host, port }: RedisHost): string {
  return `${host}:${port}`;
}

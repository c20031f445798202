/** Connections to Redis that fail fast while it is away, and come back by themselves. */
import { Cluster, Redis } from "ioredis";
import { redisOptions, serverOptions } from "../contract/redis-connection.ts";
import { parseRedisUrl } from "../contract/redis-url.ts";
import { backoffMs } from "./backoff.ts";

export const REDIS_CONNECT_TIMEOUT_MS = 5_000;
export const REDIS_COMMAND_TIMEOUT_MS = 10_000;

export interface RedisUse {
  /** The one stream that it is for; needed where Redis is a cluster. */
  readonly stream?: string;
  /** A reader that blocks in XREAD must have no limit on a command's time. */
  readonly blocking?: boolean;
  /** PEM: who may have signed the certificate of a `rediss:` server. @default those that the runtime knows */
  readonly caFile?: string | undefined;
}

export function connectRedis(url: string, use: RedisUse = {}): Redis {
  const redis = new Redis({
    ...redisOptions(url, {
      caFile: use.caFile,
      key: use.stream,
      retryMs: (failures) => backoffMs(failures, Math.random()),
    }),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: REDIS_CONNECT_TIMEOUT_MS,
    ...(use.blocking === true ? {} : { commandTimeout: REDIS_COMMAND_TIMEOUT_MS }),
    retryStrategy: (failures) => backoffMs(failures, Math.random()),
    lazyConnect: true,
  });
  // Without a listener ioredis prints each failed try; who uses the connection meets the error at its own command.
  redis.on("error", () => {});
  return redis;
}

/** What logs need of Redis: commands of one stream each, of many streams. */
export interface LogRedis extends Pick<Redis, "xrevrange" | "pipeline" | "connect" | "disconnect" | "ping"> {
  readonly status: string;
}

/**
 * For the streams of many apps, which in a cluster lie on different servers. ioredis' own Cluster client serves here: that
 * it repeats a command on another server does no harm to log lines.
 */
export function connectLogRedis(url: string, use: Pick<RedisUse, "caFile"> = {}): LogRedis {
  const address = parseRedisUrl(url);
  if (address.topology !== "cluster") return connectRedis(url, use);
  const cluster = new Cluster(address.hosts.map(({ host, port }) => ({ host, port })), {
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: (failures) => backoffMs(failures, Math.random()),
    slotsRefreshTimeout: REDIS_CONNECT_TIMEOUT_MS,
    // Names stay names, because certificates hold them.
    dnsLookup: (name, found) => found(null, name),
    redisOptions: {
      ...serverOptions(address, use.caFile),
      maxRetriesPerRequest: 0,
      connectTimeout: REDIS_CONNECT_TIMEOUT_MS,
      commandTimeout: REDIS_COMMAND_TIMEOUT_MS,
    },
  });
  cluster.on("error", () => {});
  return cluster;
}

/** Connections to Redis that fail fast while it is away, and come back by themselves. */
import { Redis } from "ioredis";
import { backoffMs } from "./backoff.ts";

export const REDIS_CONNECT_TIMEOUT_MS = 5_000;
export const REDIS_COMMAND_TIMEOUT_MS = 10_000;

export interface RedisUse {
  /** A reader that blocks in XREAD must have no limit on a command's time. */
  readonly blocking?: boolean;
}

export function connectRedis(url: string, use: RedisUse = {}): Redis {
  const redis = new Redis(url, {
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

/** Connections to Redis that fail fast while it is away, and come back by themselves. */
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { backoffMs } from "./backoff.ts";

export const REDIS_CONNECT_TIMEOUT_MS = 5_000;
export const REDIS_COMMAND_TIMEOUT_MS = 10_000;

export interface RedisUse {
  /** A reader that blocks in XREAD must have no limit on a command's time. */
  readonly blocking?: boolean;
  /** PEM: who may have signed the certificate of a `rediss:` server. @default those that the runtime knows */
  readonly caFile?: string | undefined;
}

export function connectRedis(url: string, use: RedisUse = {}): Redis {
  const redis = new Redis(url, {
    // ioredis 6 speaks RESP3 otherwise, where XINFO answers in another shape.
    protocol: 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: REDIS_CONNECT_TIMEOUT_MS,
    ...(use.blocking === true ? {} : { commandTimeout: REDIS_COMMAND_TIMEOUT_MS }),
    retryStrategy: (failures) => backoffMs(failures, Math.random()),
    lazyConnect: true,
    ...tlsOptions(url, use.caFile),
  });
  // Without a listener ioredis prints each failed try; who uses the connection meets the error at its own command.
  redis.on("error", () => {});
  return redis;
}

/** For a `rediss:` URL and a file of certificate authorities; ioredis does the rest by the URL. */
export function tlsOptions(url: string, caFile: string | undefined): { tls?: { ca: string } } {
  return caFile === undefined || !url.startsWith("rediss:")
    ? {}
    : { tls: { ca: readFileSync(caFile, "utf8") } };
}

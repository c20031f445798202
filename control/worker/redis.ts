/** A connection to Redis that comes back by itself and refuses work at once while it is away: callers have outboxes. */
import { Redis } from "ioredis";
import { tlsOptions } from "../publish/redis.ts";
import { type Backoff, backoffMs } from "./backoff.ts";

const RECONNECT: Backoff = { firstMs: 50, capMs: 2_000 };
const COMMAND_TIMEOUT_MS = 10_000;

/**
 * @param onAway told once for each time that the connection is lost or cannot be made
 * @param caFile PEM, for a `rediss:` server
 */
export function connectRedis(url: string, onAway: (error: Error) => void, caFile?: string): Redis {
  const redis = new Redis(url, {
    // ioredis 6 speaks RESP3 otherwise, where XINFO answers in another shape.
    protocol: 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (times) => backoffMs(RECONNECT, times, Math.random),
    ...tlsOptions(url, caFile),
  });
  let isAway = false;
  redis.on("ready", () => isAway = false);
  redis.on("error", (error) => {
    if (!isAway) onAway(error);
    isAway = true;
  });
  return redis;
}

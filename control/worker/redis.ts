/** A connection to Redis that comes back by itself and refuses work at once while it is away: callers have outboxes. */
import { Redis } from "ioredis";
import { type Backoff, backoffMs } from "./backoff.ts";

const RECONNECT: Backoff = { firstMs: 50, capMs: 2_000 };
const COMMAND_TIMEOUT_MS = 10_000;

/** `onAway` is told once for each time that the connection is lost or cannot be made. */
export function connectRedis(url: string, onAway: (error: Error) => void): Redis {
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: (times) => backoffMs(RECONNECT, times, Math.random),
  });
  let isAway = false;
  redis.on("ready", () => isAway = false);
  redis.on("error", (error) => {
    if (!isAway) onAway(error);
    isAway = true;
  });
  return redis;
}

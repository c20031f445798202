/** Connections to Redis that come back by themselves and refuse work at once while it is away: callers have outboxes. */
import { Redis } from "ioredis";
import { redisOptions } from "../contract/redis-connection.ts";
import { connectLogRedis, type LogRedis } from "../publish/redis.ts";
import { type Backoff, backoffMs } from "./backoff.ts";

const RECONNECT: Backoff = { firstMs: 50, capMs: 2_000 };
const COMMAND_TIMEOUT_MS = 10_000;

export interface StreamConnection {
  /** PEM, for a `rediss:` server. */
  readonly caFile?: string | undefined;
  /** The one stream that it is for; needed where Redis is a cluster. */
  readonly stream?: string;
}

/** @param onAway told once for each time that the connection is lost or cannot be made */
export function connectRedis(
  url: string,
  onAway: (error: Error) => void,
  { caFile, stream }: StreamConnection = {},
): Redis {
  const retryMs = (failures: number) => backoffMs(RECONNECT, failures, Math.random);
  const redis = new Redis({
    ...redisOptions(url, { caFile, key: stream, retryMs }),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: COMMAND_TIMEOUT_MS,
    retryStrategy: retryMs,
  });
  let isAway = false;
  redis.on("ready", () => isAway = false);
  redis.on("error", (error) => {
    if (!isAway) onAway(error);
    isAway = true;
  });
  return redis;
}

/** For log streams. Nobody is told that it is away: the state's connection says so. */
export function connectLogs(url: string, caFile?: string): LogRedis {
  const redis = connectLogRedis(url, { caFile });
  // It tries again by itself.
  redis.connect().catch(() => {});
  return redis;
}

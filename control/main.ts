/**
 * The control process: `bun control/main.ts --config PATH` (ControlConfig). Serves the API, runs releases, publishes
 * routing. Several may run beside each other on one Postgres. SIGTERM and SIGINT end it gracefully: releases under way
 * are left as they stand, and the next process resumes them.
 */
import { parseArgs } from "node:util";
import { pino } from "pino";
import { readControlConfig } from "./access/control-config.ts";
import { loadKeyPair } from "./access/key-file.ts";
import { makeApp } from "./api/app.ts";
import { REQUEST_BYTES_MAX } from "./api/limits.ts";
import { Metrics } from "./api/metrics.ts";
import { GodwitError, messageOf } from "./contract/errors.ts";
import { GLOBAL_STREAM } from "./contract/events.ts";
import { parseRedisUrl, shownRedis } from "./contract/redis-url.ts";
import { WorkerClient } from "./place/worker-client.ts";
import { Publisher } from "./publish/publisher.ts";
import { connectLogRedis, connectRedis, type LogRedis, REDIS_CONNECT_TIMEOUT_MS } from "./publish/redis.ts";
import { loadSigningKey } from "./publish/signing-key-file.ts";
import { Runner } from "./release/runner.ts";
import { Store } from "./store/database.ts";
import type { Host } from "./store/hosts.ts";
import { migrate } from "./store/migrate.ts";
import { retryAtStart } from "./start-retry.ts";

/** Longer than the longest wait that is passed on to a worker. */
const idleTimeoutS = 120;

async function main(argv: string[]): Promise<void> {
  const config = await readControlConfig(
    parseArgs({ args: argv, options: { config: { type: "string" } } }).values.config,
  );
  const log = pino({ base: { process: "control" } });
  const store = new Store(config.database_url);
  const caFile = config.redis_ca_file;
  const redis = connectLogRedis(config.redis_url, { caFile });
  const publisherRedis = connectRedis(config.redis_url, { caFile, stream: GLOBAL_STREAM });

  const migrated = await retryAtStart(() => migrate(store));
  if (migrated.length > 0) log.info({ migrated }, "database migrated");
  await retryAtStart(() => connected(redis, config.redis_url));
  await retryAtStart(() => connected(publisherRedis, config.redis_url));
  const keys = loadKeyPair(config.token_key_file);
  const signingKey = config.publisher_key_file === undefined
    ? null
    : loadSigningKey(config.publisher_key_file);
  // What an operator puts into each edge's configuration as `api_public_key`.
  if (signingKey !== null) log.info({ public_key: signingKey.publicKey }, "signs what it publishes");

  const metrics = new Metrics();
  const clientOf = (host: Host) => new WorkerClient(host.id, host.url);
  const publisher = new Publisher({
    store,
    redis: publisherRedis,
    key: signingKey,
    log: (level, message) => log[level](message),
    onPublished: (events) => metrics.published.inc(events),
    onFailure: () => metrics.publishFailures.inc(),
    onRepublish: (reason) => metrics.republications.inc({ reason }),
    onDigest: () => metrics.digests.inc(),
  });
  const runner = new Runner({
    store,
    clientOf,
    log: (level, message, fields) => log[level](fields, message),
    now: Date.now,
    random: Math.random,
    onRelease: (end) => metrics.releases.inc({ end }),
  });
  const app = makeApp({
    config,
    store,
    redis,
    newRedisReader: (stream) => connectRedis(config.redis_url, { stream, blocking: true, caFile }),
    keys,
    clientOf,
    wakeRunner: () => runner.wake(),
    metrics,
    log,
  });

  await publisher.start();
  runner.start();
  const server = Bun.serve({
    hostname: config.listen.address,
    port: config.listen.port,
    fetch: app.fetch,
    idleTimeout: idleTimeoutS,
    maxRequestBodySize: REQUEST_BYTES_MAX,
  });
  log.info({ url: server.url.href }, "control serves");

  const stop = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop.resolve(signal));
  log.info({ signal: await stop.promise }, "control stops");
  await server.stop(true);
  await runner.stop();
  await publisher.stop();
  redis.disconnect();
  publisherRedis.disconnect();
  await store.close();
}

async function connected(redis: LogRedis, url: string): Promise<void> {
  try {
    if (redis.status !== "ready") await orTooLate(redis.connect());
    await orTooLate(redis.ping());
  } catch (error) {
    redis.disconnect();
    throw new GodwitError(
      "control.redis_unavailable",
      `Cannot reach Redis at ${shownRedis(parseRedisUrl(url))}: ${messageOf(error)}`,
      {
        fault: "us",
        retryable: true,
        hint: "Check that Redis runs, and the user and password of `redis_url`.",
        cause: error,
      },
    );
  }
}

/** Sentinels and clusters are asked again and again, so that a connection to one may be on its way for ever. */
async function orTooLate<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`no connection within ${REDIS_CONNECT_TIMEOUT_MS} ms`)),
    REDIS_CONNECT_TIMEOUT_MS,
  );
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
    process.exit(0);
  } catch (error) {
    const hint = error instanceof GodwitError && error.hint !== null ? ` ${error.hint}` : "";
    console.error(`${messageOf(error)}.${hint}`);
    process.exit(1);
  }
}

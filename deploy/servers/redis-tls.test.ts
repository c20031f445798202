/** Redis that speaks TLS alone, as each kind of process connects to it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GLOBAL_STREAM, logStream, regionStream } from "../../control/contract/events.ts";
import { connectLogRedis, connectRedis } from "../../control/publish/redis.ts";
import { connectRedis as connectWorker } from "../../control/worker/redis.ts";
import { redisStreams } from "../../edge/replica/redis-streams.ts";
import { freePort, newPassword } from "./child.ts";
import { startRedisCluster } from "./redis-cluster.ts";
import { startRedisSentinel } from "./redis-sentinel.ts";
import { type RedisServer, type RedisTls, type RedisUser, startRedis } from "./redis.ts";

const STREAM = regionStream("ams");
const folder = mkdtempSync(join(tmpdir(), "godwit-redis-tls-"));
let tls: RedisTls;
let server: RedisServer;

beforeAll(async () => {
  tls = certificate("own");
  server = await startRedis({
    folder: join(folder, "redis"),
    port: await freePort(),
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    tls,
    logFile: join(folder, "redis.log"),
    durable: false,
  });
}, 60_000);
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Signed by itself, so that it is its own authority. */
function certificate(name: string): RedisTls {
  const [keyFile, certificateFile] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const made = Bun.spawnSync([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-keyout", keyFile, "-out", certificateFile, "-days", "2", "-subj", `/CN=${name}`],
    ...["-addext", "subjectAltName=IP:127.0.0.1"],
  ]);
  if (!made.success) throw new Error(made.stderr.toString());
  return { keyFile, certificateFile, caFile: certificateFile };
}

describe("rediss:", () => {
  test("control connects where its file of authorities has signed the server's certificate", async () => {
    const redis = connectRedis(server.urlOf("api"), { caFile: tls.caFile });
    await redis.connect();
    expect(await redis.xadd(GLOBAL_STREAM, "*", "owner", "api")).toMatch(/^\d+-\d+$/);
    redis.disconnect();
  }, 30_000);

  test("control does not connect without that file, nor with another", async () => {
    for (const caFile of [undefined, certificate("other").caFile]) {
      const redis = connectRedis(server.urlOf("api"), { caFile });
      const why = Promise.withResolvers<Error>();
      redis.on("error", why.resolve);
      await expect(redis.connect()).rejects.toThrow();
      expect((await why.promise).message).toMatch(/certificate|self.signed/i);
      redis.disconnect();
    }
  }, 30_000);

  test("a worker connects", async () => {
    const redis = connectWorker(server.urlOf("worker"), () => {}, { caFile: tls.caFile });
    await new Promise((resolve) => redis.once("ready", resolve));
    expect(await redis.ping()).toBe("PONG");
    redis.disconnect();
  }, 30_000);

  test("an edge reads the streams", async () => {
    const session = await redisStreams(server.urlOf("edge"), tls.caFile).connect();
    expect(await session.info(GLOBAL_STREAM)).toMatchObject({ removed: 0 });
    session.close();
    await expect(redisStreams(server.urlOf("edge")).connect()).rejects.toThrow();
  }, 30_000);
});

async function connectsAll(urlOf: (user: RedisUser) => string): Promise<void> {
  const { caFile } = tls;
  const api = connectRedis(urlOf("api"), { caFile, stream: GLOBAL_STREAM });
  await api.connect();
  await api.xadd(GLOBAL_STREAM, "*", "owner", "api");
  const worker = connectWorker(urlOf("worker"), () => {}, { caFile, stream: STREAM });
  await new Promise((resolve) => worker.once("ready", () => resolve(null)));
  await worker.xadd(STREAM, "*", "owner", "worker:h1");
  const logs = connectLogRedis(urlOf("worker"), { caFile });
  await logs.connect();
  expect((await logs.pipeline().xadd(logStream("a"), "*", "line", "x").exec())?.[0]?.[0]).toBeNull();
  const session = await redisStreams(urlOf("edge"), caFile).connect();
  expect(await session.regionStreams()).toEqual([STREAM]);
  const found = await session.read(new Map([[GLOBAL_STREAM, "0-0"], [STREAM, "0-0"]]), 10, 1_000);
  expect(found.length).toBeGreaterThan(0);
  session.close();
  await expect(redisStreams(urlOf("edge")).connect()).rejects.toThrow();
  for (const redis of [api, worker, logs]) redis.disconnect();
}

describe("rediss+…:", () => {
  const passwords = { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() };

  test("each kind of process connects to a Sentinel's primary", async () => {
    const redis = await startRedisSentinel({
      ...{ folder: join(folder, "sentinel"), passwords, downAfterMs: 2_000, tls },
    });
    try {
      await connectsAll((user) => redis.urlOf(user));
    } finally {
      await redis.stop();
    }
  }, 60_000);

  test("each kind of process connects to a Cluster", async () => {
    const redis = await startRedisCluster({
      ...{ folder: join(folder, "cluster"), passwords, nodeTimeoutMs: 2_000, tls },
    });
    try {
      await connectsAll((user) => redis.urlOf(user));
    } finally {
      await redis.stop();
    }
  }, 60_000);
});

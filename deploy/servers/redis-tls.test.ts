/** Redis that speaks TLS alone, as each kind of process connects to it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { connectRedis } from "../../control/publish/redis.ts";
import { connectRedis as connectWorker } from "../../control/worker/redis.ts";
import { redisStreams } from "../../edge/replica/redis-streams.ts";
import { freePort, newPassword } from "./child.ts";
import { type RedisServer, type RedisTls, startRedis } from "./redis.ts";

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

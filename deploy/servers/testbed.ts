/**
 * Real servers for tests. One Postgres and one Redis serve a whole `bun test` process: started when the first test asks,
 * stopped after the last one. Where GODWIT_DATABASE_URL or GODWIT_REDIS_URL name servers, those are used instead.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { freePort, newPassword } from "./child.ts";
import { type PostgresServer, startPostgres } from "./postgres.ts";
import { type RedisServer, type RedisUser, startRedis } from "./redis.ts";

let folder: string | null = null;
let postgres: Promise<PostgresServer> | null = null;
let redis: Promise<RedisServer> | null = null;

export function testFolder(): string {
  return folder ??= mkdtempSync(join(tmpdir(), "godwit-test-"));
}

/** The URL of a new, empty database. */
export async function testDatabase(): Promise<string> {
  const name = `test_${Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString("hex")}`;
  const named = process.env.GODWIT_DATABASE_URL;
  if (named === undefined) {
    postgres ??= startPostgres({
      folder: join(testFolder(), "postgres"),
      port: await freePort(),
      password: newPassword(),
      logFile: join(testFolder(), "postgres.log"),
      durable: false,
    });
  }
  const admin = named ?? (await postgres!).url;
  const sql = new SQL(admin, { max: 1 });
  await sql.unsafe(`CREATE DATABASE ${name}`);
  await sql.close();
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return url.href;
}

/** URL of the shared Redis as one of its users. Tests use stream and key names of their own where they can. */
export async function testRedis(user: RedisUser): Promise<string> {
  const named = process.env.GODWIT_REDIS_URL;
  if (named !== undefined) return named;
  redis ??= startOwnRedis();
  return (await redis).urlOf(user);
}

/** A Redis of one's own, for tests that stop it, pause it or fill its fixed stream names. */
export async function startOwnRedis(): Promise<RedisServer> {
  const passwords = { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() };
  const port = await freePort();
  return await startRedis({
    folder: join(testFolder(), `redis-${port}`),
    port,
    passwords,
    logFile: join(testFolder(), `redis-${port}.log`),
    durable: false,
  });
}

/** Called once after all tests, by deploy/check/preload.ts. */
export async function stopTestbed(): Promise<void> {
  await Promise.all([postgres, redis].map(async (server) => (await server)?.stop()));
  if (folder !== null) rmSync(folder, { recursive: true, force: true });
  postgres = redis = folder = null;
}

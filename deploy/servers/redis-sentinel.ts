/** A real Sentinel trio over a primary and its replica, for tests that fail the primary over. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { redisOptions } from "../../control/contract/redis-connection.ts";
import { freePort, type Server, startServer } from "./child.ts";
import {
  portLines,
  type RedisPasswords,
  type RedisServer,
  type RedisTls,
  type RedisUser,
  startRedis,
} from "./redis.ts";

export const SENTINEL_PRIMARY = "fleet";
const SENTINELS = 3;

export interface RedisSentinelOptions {
  readonly folder: string;
  readonly passwords: RedisPasswords;
  /** A primary that has not answered for so long is failed over. */
  readonly downAfterMs: number;
  /** They all speak TLS alone. */
  readonly tls?: RedisTls;
}

export interface RedisSentinel {
  urlOf(user: RedisUser): string;
  /** Who is the primary, by the first sentinel that answers. */
  primaryPort(): Promise<number>;
  /**
   * SIGKILL to the primary, after its replica was cut off from it for as long as `meanwhile` takes: what the primary
   * acknowledges then is lost. @returns the primary's port
   */
  killPrimary(meanwhile: () => Promise<void>): Promise<number>;
  stop(): Promise<void>;
}

export async function startRedisSentinel(options: RedisSentinelOptions): Promise<RedisSentinel> {
  const { folder, passwords, downAfterMs, tls } = options;
  const caFile = tls?.caFile;
  const tlsLines = tls === undefined ? [] : ["tls-replication yes"];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const servers: (RedisServer & { port: number })[] = [];
  const sentinels: (Server & { port: number })[] = [];
  const stop = async () => {
    // Those that would start a failover first.
    await Promise.all(sentinels.map((sentinel) => sentinel.stop()));
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    for (const role of ["first", "second"] as const) {
      const port = await freePort();
      const primary = servers[0]?.port ?? null;
      const server = await startRedis({
        ...{
          folder: join(folder, role),
          port,
          passwords,
          logFile: join(folder, `${role}.log`),
          durable: false,
        },
        ...(tls === undefined ? {} : { tls }),
        more: [
          ...tlsLines,
          ...["masteruser admin", `masterauth ${passwords.admin}`, "repl-diskless-sync-delay 0"],
          ...(primary === null ? [] : [`replicaof 127.0.0.1 ${primary}`]),
        ],
      });
      servers.push({ ...server, port });
    }
    for (let n = 0; n < SENTINELS; n++) sentinels.push(await startSentinel(n, servers[0]!.port));
    const ask = <T>(question: (redis: Redis) => Promise<T>) =>
      askOne(sentinels.map(({ port }) => port), question, caFile);
    const primaryPort = () =>
      ask(async (redis) =>
        Number((await redis.call("SENTINEL", "get-master-addr-by-name", SENTINEL_PRIMARY) as string[])[1])
      );
    await untilTrue(() =>
      ask(async (redis) => await redis.call("SENTINEL", "ckquorum", SENTINEL_PRIMARY) !== null)
    );
    await untilTrue(() =>
      ask(async (redis) => {
        const replicas = await redis.call("SENTINEL", "replicas", SENTINEL_PRIMARY) as string[][];
        return replicas.some((flat) => flat[flat.indexOf("master-link-status") + 1] === "ok");
      })
    );
    return {
      urlOf: (user) => {
        const { username, password } = new URL(servers[0]!.urlOf(user));
        const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",");
        return `${
          tls === undefined ? "redis" : "rediss"
        }+sentinel://${username}:${password}@${hosts}/${SENTINEL_PRIMARY}`;
      },
      primaryPort,
      killPrimary: async (meanwhile) => {
        const port = await primaryPort();
        const primary = servers.find((each) => each.port === port)!;
        const replica = servers.find((each) => each.port !== port)!;
        process.kill(replica.pid, "SIGSTOP");
        try {
          const admin = new Redis(redisOptions(primary.urlOf("admin"), { caFile, retryMs: null }));
          await admin.call("CLIENT", "KILL", "TYPE", "replica");
          admin.disconnect();
          await meanwhile();
          process.kill(primary.pid, "SIGKILL");
          await primary.exited;
        } finally {
          process.kill(replica.pid, "SIGCONT");
        }
        return port;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }

  async function startSentinel(n: number, primary: number): Promise<Server & { port: number }> {
    const own = join(folder, `sentinel-${n}`);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    const port = await freePort();
    const config = join(own, "sentinel.conf");
    writeFileSync(
      config,
      [
        ...[
          "bind 127.0.0.1",
          ...portLines({ port, ...(tls === undefined ? {} : { tls }) }),
          ...tlsLines,
          "daemonize no",
          `dir ${JSON.stringify(own)}`,
          "protected-mode yes",
        ],
        `sentinel monitor ${SENTINEL_PRIMARY} 127.0.0.1 ${primary} ${Math.floor(SENTINELS / 2) + 1}`,
        `sentinel auth-user ${SENTINEL_PRIMARY} admin`,
        `sentinel auth-pass ${SENTINEL_PRIMARY} ${passwords.admin}`,
        `sentinel down-after-milliseconds ${SENTINEL_PRIMARY} ${downAfterMs}`,
        `sentinel failover-timeout ${SENTINEL_PRIMARY} 5000`,
      ].join("\n") + "\n",
      { mode: 0o600 },
    );
    const server = await startServer({
      ...{ name: "redis-sentinel", argv: ["redis-server", config, "--sentinel"], logFile: join(own, "log") },
      ready: () => askOne([port], (redis) => redis.ping(), caFile).then(() => true, () => false),
    });
    return { ...server, port };
  }
}

async function askOne<T>(
  ports: readonly number[],
  question: (redis: Redis) => Promise<T>,
  caFile: string | undefined,
): Promise<T> {
  let why: unknown;
  for (const port of ports) {
    const redis = new Redis({
      ...{ host: "127.0.0.1", port, protocol: 2, lazyConnect: true, retryStrategy: () => null },
      ...(caFile === undefined ? {} : { tls: { ca: readFileSync(caFile, "utf8") } }),
    });
    redis.on("error", () => {});
    try {
      await redis.connect();
      return await question(redis);
    } catch (error) {
      why = error;
    } finally {
      redis.disconnect();
    }
  }
  throw why;
}

const READY_WAIT_MS = 30_000;
const READY_POLL_MS = 50;

/** Sentinels find each other through the primary; whoever asks before that is told of an error. */
async function untilTrue(holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + READY_WAIT_MS;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error("the sentinels did not come together");
    await Bun.sleep(READY_POLL_MS);
  }
}

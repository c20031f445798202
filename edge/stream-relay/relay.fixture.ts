/** For tests: two real Redis servers that can be killed, emptied and set back, and a relay between them. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisOptions, type RedisServer, startRedis } from "../../deploy/servers/redis.ts";
import { until } from "../edge.fixture.ts";
import { pause } from "../replica/pause.ts";
import { redisLinks } from "../replica/redis-links.ts";
import { redisSessions } from "../replica/redis-streams.ts";
import type { Cleanups } from "../replica/replica.fixture.ts";
import { BYTES } from "../replica/stream-commands.ts";
import type { Entry } from "./choose-place.ts";
import { StreamRelay } from "./relay.ts";

export const WAIT_MS = 20_000;
/** The user that README.md gives a relay in the regional Redis. */
const RELAY_RULE =
  "%RW~godwit:state:* +@read +@connection +@transaction +evalsha +script|load +xadd +del -@dangerous +info";
const RELAY_USER = "stream-relay";

/** Durable, so that it can be set back to what it was at some time. */
export class SetBackRedis {
  readonly admin: Redis;
  readonly folder: string;
  readonly relayPassword = newPassword();
  readonly #options: RedisOptions;
  #server: RedisServer;

  private constructor(options: RedisOptions, server: RedisServer, relayPassword: string) {
    this.#options = options;
    this.#server = server;
    this.folder = options.folder;
    this.relayPassword = relayPassword;
    this.admin = new Redis(server.urlOf("admin"), { protocol: 2, retryStrategy: () => 20 });
    this.admin.on("error", () => {}); // it is taken away on purpose
  }

  static async start(cleanups: Cleanups): Promise<SetBackRedis> {
    const folder = cleanups.folder();
    const relayPassword = newPassword();
    const options = {
      ...{ folder: join(folder, "data"), port: await freePort(), logFile: join(folder, "log") },
      passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
      more: [`user ${RELAY_USER} on >${relayPassword} ${RELAY_RULE}`],
    };
    const redis = new SetBackRedis(options, await startRedis(options), relayPassword);
    cleanups.add(async () => {
      redis.admin.disconnect();
      await redis.#server.stop();
    });
    return redis;
  }

  get edgeUrl(): string {
    return this.#server.urlOf("edge");
  }
  get relayUrl(): string {
    return `redis://${RELAY_USER}:${this.relayPassword}@127.0.0.1:${this.#options.port}/0`;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    process.kill(this.#server.pid, "SIGKILL");
    await this.#server.exited;
  }

  async begin(): Promise<void> {
    this.#server = await startRedis(this.#options);
    await until(() => this.admin.status === "ready", WAIT_MS);
  }

  /** What it holds now, for `setBack`. */
  async copy(): Promise<string> {
    const copy = `${this.#options.folder}-copy`;
    await this.kill();
    rmSync(copy, { recursive: true, force: true });
    cpSync(this.#options.folder, copy, { recursive: true });
    await this.begin();
    return copy;
  }

  /** It is killed, and comes back with what it had then; null: with nothing. */
  async setBack(copy: string | null): Promise<void> {
    await this.kill();
    rmSync(this.#options.folder, { recursive: true });
    if (copy !== null) cpSync(copy, this.#options.folder, { recursive: true });
    await this.begin();
  }
}

export function startRelay(
  cleanups: Cleanups,
  from: string,
  to: string,
  options: { regions?: readonly string[]; entriesMax?: number } = {},
): { relay: StreamRelay; stop: () => Promise<void> } {
  const relay = new StreamRelay({
    upstream: redisSessions(from, BYTES),
    regional: redisLinks(to),
    ...{ regions: [], pause, random: Math.random, ...options },
    log: pino({ level: process.env.RELAY_TEST_LOG ?? "silent" }),
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
  });
  let stopped: Promise<void> | null = null;
  const stop = () => stopped ??= relay.stop();
  cleanups.add(stop);
  relay.start();
  return { relay, stop };
}

export async function entriesOf(redis: Redis, stream: string): Promise<Entry[]> {
  const entries = await redis.callBuffer("XRANGE", stream, "-", "+") as [Buffer, Buffer[]][];
  return entries.map(([id, fields]) => ({ id: String(id), fields }));
}

/** Once both have the very same entries under the same ids. */
export async function untilSame(a: Redis, b: Redis, ...streams: string[]): Promise<void> {
  await until(async () => {
    for (const stream of streams) {
      const [ours, theirs] = [await entriesOf(a, stream), await entriesOf(b, stream)];
      if (!Bun.deepEquals(ours, theirs)) return false;
    }
    return true;
  }, WAIT_MS);
}

/**
 * For tests: a real edge with its replicator's process and a Redis of its own, under clients that ask all the time and
 * retry nothing. What happens to the replicator, to Redis or to the file must not reach them.
 */
import { expect } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { startedMachine } from "../../control/contract/machine-row.fixture.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { newPassword } from "../../deploy/servers/child.ts";
import { type RedisServer, startRedis } from "../../deploy/servers/redis.ts";
import { startEdge } from "../edge.ts";
import { HOST_ID, idOf, RawClient, until } from "../edge.fixture.ts";
import { ReplicatedRows } from "../rows/replicated-rows.ts";
import { loadRuntime } from "../runtime/runtime.ts";
import type { ReplicatorProcess } from "./child-process.ts";
import type { WatchLimits } from "./replicator-watch.ts";
import { SteadyClients } from "./workers.fixture.ts";

const PROGRAM = new URL("../main.ts", import.meta.url).pathname;
/** From "the fault is over" to "a new row is routed": restarts back off to half a minute. */
export const HEAL_MS_MAX = 75_000;
const CLIENT_PAUSE_MS = 5;
const LOOK_INTERVAL_MS = 25;
/** A machine full of other tests delays requests; what hangs on the replica would take seconds. */
const SLOWEST_MS_MAX = 5_000;

export interface IsolatedOptions {
  /** Where the replica's file goes; the fixture's folder unless given. */
  readonly replicaFolder?: string;
  /** In place of Redis' own URL. */
  readonly redisUrl?: (url: string) => string;
  /** In this process instead of one of its own, with these replicators, and these limits for them. */
  readonly within?: { readonly fork: () => ReplicatorProcess; readonly limits: WatchLimits };
}

/** What an edge's `/replica` says, as far as tests ask. */
export interface ReplicaPage {
  readonly connected: boolean;
  readonly last_error?: string | null;
  readonly replicator: { readonly pid: number | null; readonly restarts: Record<string, number> };
}

export class IsolatedEdge {
  readonly port: number;
  readonly folder: string;
  readonly replicaFile: string;
  readonly clients: SteadyClients;
  readonly redis: RedisHandle;
  readonly #adminPort: number;
  readonly #stop: () => Promise<void>;
  #names = 0;
  #sequence = 0;

  constructor(
    ports: { port: number; adminPort: number },
    folder: string,
    replicaFile: string,
    redis: RedisHandle,
    stop: () => Promise<void>,
  ) {
    this.port = ports.port;
    this.#adminPort = ports.adminPort;
    this.folder = folder;
    this.replicaFile = replicaFile;
    this.redis = redis;
    this.#stop = stop;
    this.clients = new SteadyClients(ports.port, 2, 1, CLIENT_PAUSE_MS);
  }

  async replica(): Promise<ReplicaPage> {
    const text = await this.#get(this.#adminPort, "/replica", "admin");
    return JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4));
  }

  async metrics(): Promise<string> {
    const text = await this.#get(this.#adminPort, "/metrics", "admin");
    return text.slice(text.indexOf("\r\n\r\n") + 4);
  }

  async restarts(): Promise<Record<string, number>> {
    return (await this.replica()).replicator.restarts;
  }

  /** Resolves to the process id of one that has caught up, other than `before`. */
  async replicator(before: number | null = null): Promise<number> {
    let pid: number | null = null;
    await eventually(async () => {
      const { replicator, connected } = await this.replica();
      pid = replicator.pid;
      return connected && pid !== null && pid !== before;
    });
    return pid!;
  }

  publish(table: string, key: string, row: unknown): Promise<unknown> {
    const isGlobal = table !== "machines";
    const event = JSON.stringify({
      ...{ schema: 1, owner: isGlobal ? "api" : `worker:${HOST_ID}`, table, key, published_ms: Date.now() },
      ...{ version: { epoch: 1, seq: ++this.#sequence }, deleted: row === null, row },
    });
    return this.redis.client.xadd(isGlobal ? GLOBAL_STREAM : regionStream("ams"), "*", ...rawBatch(event));
  }

  /** A new host name is published, and answered for. */
  async routesNews(): Promise<void> {
    const hostname = `news-${this.#names++}.test`;
    await this.publish("hostnames", hostname, { hostname, app_id: idOf("app") });
    await eventually(async () => (await this.#get(this.port, "/", hostname)).slice(9, 12) === "200");
  }

  /** Ends all. Throws where a request failed, or was held up. */
  async stop(): Promise<void> {
    await this.clients.stop();
    await this.#stop();
    expect(this.clients.failures).toEqual([]);
    expect(this.clients.requests).toBeGreaterThan(50);
    expect(this.clients.slowestMs).toBeLessThan(SLOWEST_MS_MAX);
  }

  async #get(port: number, path: string, host: string): Promise<string> {
    const client = await RawClient.open(port);
    try {
      return await client.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`).end();
    } finally {
      client.close();
    }
  }
}

/** Asks now and then, because each time costs a connection that the clients' requests compete with. */
export async function eventually(holds: () => Promise<boolean>): Promise<void> {
  await until(async () => await holds() || (await Bun.sleep(LOOK_INTERVAL_MS), false), HEAL_MS_MAX);
}

/** A Redis that can be killed and started again, and keeps what it has acknowledged. */
export interface RedisHandle {
  readonly server: RedisServer;
  /** As admin; waits for a server that is away. */
  readonly client: Redis;
  restart(): Promise<void>;
}

/** Starts all, runs `work`, ends all, and then asserts that no request failed. */
export async function withIsolatedEdge(
  options: IsolatedOptions,
  work: (edge: IsolatedEdge) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-isolation-"));
  const cleanups: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  try {
    const redis = await ownRedis(folder, cleanups);
    const upstream = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
    cleanups.push(() => upstream.stop(true));
    const replicaFile = join(options.replicaFolder ?? folder, "replica.sqlite");
    const redisUrl = redis.server.urlOf("edge");
    const config = EdgeConfig.parse({
      ...{ schema: 1, edge_id: "edge-1", region: "ams", regions: [], access_log: "off" },
      listeners: [{ address: "127.0.0.1", port: await quietPort(), service_port: 80 }],
      admin: { address: "127.0.0.1", port: await quietPort() },
      rows: {
        from: "redis",
        redis_url: options.redisUrl?.(redisUrl) ?? redisUrl,
        replica_file: replicaFile,
      },
    });
    await publishApp(redis.client, upstream.port!);
    const stop = await start(config, options, folder);
    const ports = { port: config.listeners[0]!.port, adminPort: config.admin!.port };
    const edge = new IsolatedEdge(ports, folder, replicaFile, redis, stop);
    try {
      await work(edge);
    } catch (error) {
      // What went wrong first says more than what that led to.
      await edge.stop().catch(() => {});
      throw error;
    }
    await edge.stop();
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

/** A free port that no connection of all these clients is given by the kernel before the edge listens there. */
async function quietPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await Promise.race([
      once(server, "listening").then(() => true, () => false),
      once(server, "error").then(() => false),
    ]);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}

async function ownRedis(folder: string, cleanups: (() => unknown)[]): Promise<RedisHandle> {
  const passwords = { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() };
  const options = {
    ...{ folder: join(folder, "redis"), port: await quietPort(), passwords, durable: true },
    logFile: join(folder, "redis.log"),
  };
  let server = await startRedis(options);
  const client = new Redis(server.urlOf("admin"), { maxRetriesPerRequest: null });
  client.on("error", () => {});
  cleanups.push(() => server.stop(), () => client.disconnect());
  return {
    get server() {
      return server;
    },
    client,
    restart: async () => void (server = await startRedis(options)),
  };
}

/** The app that the clients ask for. */
async function publishApp(redis: Redis, port: number): Promise<void> {
  const app_id = idOf("app");
  const id = idOf("m", 14);
  const machine = startedMachine(port, { id, app_id, host_id: HOST_ID });
  const version = { epoch: 0, seq: 1 };
  const common = { schema: 1, version, deleted: false, published_ms: Date.now() };
  const hostname = { hostname: "any.test", app_id };
  const named = { ...common, owner: "api", table: "hostnames", key: "any.test", row: hostname };
  const running = {
    ...{ ...common, owner: `worker:${HOST_ID}`, table: "machines", key: `${HOST_ID}/${id}`, row: machine },
  };
  await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(JSON.stringify(named)));
  await redis.xadd(regionStream("ams"), "*", ...rawBatch(JSON.stringify(running)));
}

async function start(
  config: EdgeConfig,
  { within }: IsolatedOptions,
  folder: string,
): Promise<() => Promise<void>> {
  if (within !== undefined) {
    const log = pino({ level: "silent" });
    const { rows, regions } = config;
    if (rows.from !== "redis") throw new Error(rows.from);
    const runtime = await loadRuntime();
    const edge = await startEdge(config, runtime, log, {
      openRows: ({ onChanges, heldKeys, nowMs, random }) =>
        new ReplicatedRows({
          ...{ ...within, settings: { rows, regions, logLevel: "silent" } },
          ...{ openDatabase: runtime.openDatabase, log, onChanges, heldKeys, nowMs, random },
        }),
    });
    return () => edge.stop();
  }
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const said = Bun.file(join(folder, "said"));
  const child = Bun.spawn([process.execPath, PROGRAM, "--config", file], {
    ...{ stdin: "ignore", stdout: said, stderr: said },
  });
  const stop = async () => {
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  };
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the edge ended: ${await said.text()}`);
      // The admin's is the last of its listeners.
      const health = await fetch(`http://127.0.0.1:${config.admin!.port}/healthz`, { keepalive: false })
        .then((response) => response.json(), () => null);
      return health !== null || (await Bun.sleep(LOOK_INTERVAL_MS), false);
    }, 30_000);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return stop;
}

/** Postgres and Redis of the benchmark's own, in a folder of its own, gone afterwards; ctrl-c included. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { GodwitError } from "../../../control/contract/errors.ts";
import { freePort, newPassword } from "../../servers/child.ts";
import { type PostgresServer, startPostgres } from "../../servers/postgres.ts";
import { type RedisServer, startRedis } from "../../servers/redis.ts";

export class BenchServers {
  readonly folder = mkdtempSync(join(tmpdir(), "godwit-bench-replica-"));
  readonly #cleanups: (() => unknown)[] = [];
  #started = 0;

  /** A fresh one for each part, since streams have fixed names. It keeps nothing on disk but what Redis must. */
  async startRedis(): Promise<BenchRedis> {
    const name = `redis-${this.#started++}`;
    const passwords = {
      ...{ admin: newPassword(), api: newPassword() },
      ...{ worker: newPassword(), edge: newPassword() },
    };
    let pid = 0;
    const server = await startRedis({
      ...{ folder: join(this.folder, name), port: await freePort(), passwords },
      logFile: join(this.folder, `${name}.log`),
      // Written to disk at each append in production; the disks of development machines would be what is measured.
      durable: false,
      onSpawn: (spawned) => pid = spawned,
    });
    const client = new Redis(server.urlOf("admin"), { protocol: 2 });
    client.on("error", () => {});
    const passwordFile = join(this.folder, `${name}.password`);
    writeFileSync(passwordFile, passwords.edge, { mode: 0o600 });
    let running = true;
    const stop = async () => {
      if (!running) return;
      running = false;
      client.disconnect();
      await server.stop();
    };
    this.onClose(stop);
    return { server, pid, client, passwordFile, stop };
  }

  async startPostgres(): Promise<PostgresServer> {
    const server = await startPostgres({
      ...{ folder: join(this.folder, "postgres"), port: await freePort(), password: newPassword() },
      logFile: join(this.folder, "postgres.log"),
    });
    this.onClose(() => server.stop());
    return server;
  }

  onClose(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface BenchRedis {
  readonly server: RedisServer;
  readonly pid: number;
  /** As admin. */
  readonly client: Redis;
  /** Holds the password of user `edge`. */
  readonly passwordFile: string;
  stop(): Promise<void>;
}

export async function withServers<T>(work: (servers: BenchServers) => Promise<T>): Promise<T> {
  const interrupted = Promise.withResolvers<never>();
  const onSignal = () =>
    interrupted.reject(new GodwitError("bench.interrupted", "Interrupted", { fault: "client" }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
  const servers = new BenchServers();
  try {
    return await Promise.race([work(servers), interrupted.promise]);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await servers.close();
  }
}

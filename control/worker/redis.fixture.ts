/** A Redis that a test can take away and bring back at the same address, empty. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisServer, startRedis } from "../../deploy/servers/redis.ts";

export class RestartableRedis {
  readonly #folder = mkdtempSync(join(tmpdir(), "godwit-redis-"));
  readonly #passwords = {
    admin: newPassword(),
    api: newPassword(),
    worker: newPassword(),
    edge: newPassword(),
  };
  #port: number | null = null;
  #server: RedisServer | null = null;

  async start(): Promise<RedisServer> {
    this.#port ??= await freePort();
    return this.#server = await startRedis({
      folder: this.#folder,
      port: this.#port,
      passwords: this.#passwords,
      logFile: join(this.#folder, "redis.log"),
      durable: false,
    });
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = null;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

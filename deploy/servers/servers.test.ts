import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { Redis } from "ioredis";
import { freePort, newPassword } from "./child.ts";
import { startPostgres } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import { startRegistry } from "./registry.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-servers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("servers", () => {
  test("startPostgres() keeps its rows over a restart and refuses a wrong password", async () => {
    const options = {
      folder: join(folder, "pg"),
      port: await freePort(),
      password: newPassword(),
      logFile: join(folder, "pg.log"),
      durable: false,
    };
    const first = await startPostgres(options);
    const sql = new SQL(first.url, { max: 1 });
    await sql`CREATE TABLE kept (n int)`;
    await sql`INSERT INTO kept VALUES (7)`;
    await sql.close();
    const wrong = new SQL(first.url.replace(options.password, "wrong"), { max: 1 });
    expect(wrong`SELECT 1`.execute()).rejects.toThrow(/password/);
    await first.stop();
    const second = await startPostgres(options);
    const again = new SQL(second.url, { max: 1 });
    expect((await again`SELECT n FROM kept`)[0].n).toBe(7);
    await again.close();
    await second.stop();
  }, 60_000);

  test("startRedis() gives each user its own streams and no more", async () => {
    const passwords = {
      admin: newPassword(),
      api: newPassword(),
      worker: newPassword(),
      edge: newPassword(),
    };
    const server = await startRedis({
      folder: join(folder, "redis"),
      port: await freePort(),
      passwords,
      logFile: join(folder, "redis.log"),
      durable: false,
    });
    const as = (user: keyof typeof passwords) => new Redis(server.urlOf(user), { maxRetriesPerRequest: 1 });
    const [api, worker, edge] = [as("api"), as("worker"), as("edge")];
    await api.xadd("godwit:state:global", "*", "event", "{}");
    await worker.xadd("godwit:state:region:dev", "*", "event", "{}");
    expect(worker.xadd("godwit:state:global", "*", "event", "{}")).rejects.toThrow(/NOPERM/);
    expect(edge.xadd("godwit:state:region:dev", "*", "event", "{}")).rejects.toThrow(/NOPERM/);
    expect(await edge.xlen("godwit:state:global")).toBe(1);
    expect(edge.xlen("godwit:logs:x")).rejects.toThrow(/NOPERM/);
    for (const client of [api, worker, edge]) client.disconnect();
    await server.stop();
  }, 60_000);

  test(
    "startRedis() lets each named worker append to its own region's stream alone, and take nothing away",
    async () => {
      const server = await startRedis({
        folder: join(folder, "redis-workers"),
        port: await freePort(),
        passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
        workers: [
          { hostId: "h1", region: "ams", password: newPassword() },
          { hostId: "h2", region: "fra", password: newPassword() },
        ],
        logFile: join(folder, "redis-workers.log"),
        durable: false,
      });
      expect(() => server.urlOf("worker")).toThrow(/no user worker/);
      const clients = (["worker-h1", "worker-h2", "api"] as const).map((user) =>
        new Redis(server.urlOf(user), { maxRetriesPerRequest: 1 })
      );
      const [first, second, api] = clients as [Redis, Redis, Redis];
      await first.xadd("godwit:state:region:ams", "MAXLEN", "~", 10, "*", "owner", "worker:h1");
      await first.xadd("godwit:logs:app", "*", "line", "x");
      expect(await first.xlen("godwit:state:region:ams")).toBe(1);
      for (
        const refused of [
          first.xadd("godwit:state:region:fra", "*", "owner", "worker:h1"),
          first.xadd("godwit:state:global", "*", "owner", "api"),
          first.xlen("godwit:state:region:fra"),
          first.xtrim("godwit:state:region:ams", "MAXLEN", 0),
          first.del("godwit:state:region:ams"),
          second.xadd("godwit:state:region:ams", "*", "owner", "worker:h1"),
          api.xadd("godwit:state:region:ams", "*", "owner", "worker:h1"),
          api.del("godwit:state:global"),
        ]
      ) await expect(refused).rejects.toThrow(/NOPERM/);
      for (const client of clients) client.disconnect();
      await server.stop();
    },
    60_000,
  );

  test("startRegistry() asks for its password", async () => {
    const server = await startRegistry({
      folder: join(folder, "registry"),
      port: await freePort(),
      password: newPassword(),
      logFile: join(folder, "registry.log"),
    });
    expect((await fetch(`http://${server.host}/v2/`)).status).toBe(401);
    await server.stop();
  }, 60_000);
});

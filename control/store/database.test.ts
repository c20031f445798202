import { expect, test } from "bun:test";
import { join } from "node:path";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { startPostgres } from "../../deploy/servers/postgres.ts";
import { testFolder } from "../../deploy/servers/testbed.ts";
import { Store } from "./database.ts";

test(
  "Store answers store.unavailable while Postgres is away, and by itself goes on when it is back",
  async () => {
    const options = {
      folder: join(testFolder(), "store-postgres"),
      port: await freePort(),
      password: newPassword(),
      logFile: join(testFolder(), "store-postgres.log"),
      durable: false,
    };
    const first = await startPostgres(options);
    const store = new Store(first.url);
    await store.ping();
    const own = await store.ownConnection();
    await own.sql`SELECT pg_advisory_lock(1)`;
    // A fast shutdown: the one of SIGTERM waits for clients to leave.
    process.kill(first.pid, "SIGINT");
    await first.exited;

    const unavailable = { code: "store.unavailable", fault: "us", retryable: true };
    await expect(store.ping()).rejects.toMatchObject(unavailable);
    await expect(store.transaction((tx) => tx`SELECT 1`)).rejects.toMatchObject(unavailable);
    await expect(store.ownConnection()).rejects.toMatchObject(unavailable);
    await own.sql`SELECT 1`.then(() => expect.unreachable(), () => {});

    const second = await startPostgres(options);
    await store.ping();
    expect(await store.transaction((tx) => tx`SELECT 7 AS n`)).toHaveLength(1);
    const fresh = await store.ownConnection();
    const [row] = await fresh.sql`SELECT pg_try_advisory_lock(1) AS taken`;
    expect(row.taken).toBe(true);
    await fresh.close();
    await own.close();
    await store.close();
    await second.stop();
  },
  60_000,
);

test("Store.read() passes on what is wrong with a statement as it is", async () => {
  const store = new Store(`postgres://nobody:secret@127.0.0.1:${await freePort()}/none`);
  const error: Error = await store.ping().then(() => expect.unreachable(), (e) => e);
  expect(error.message).not.toContain("secret");
  expect(error).toMatchObject({ code: "store.unavailable" });
  await store.close();
}, 30_000);

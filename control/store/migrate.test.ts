import { expect, test } from "bun:test";
import { testDatabase } from "../../deploy/servers/testbed.ts";
import { Store } from "./database.ts";
import { migrate, readMigrations } from "./migrate.ts";

test("migrate() brings an empty database to the schema, and does nothing the second time", async () => {
  const store = new Store(await testDatabase());
  const names = readMigrations().map((m) => m.name);
  expect(await migrate(store)).toEqual(names);
  expect(await migrate(store)).toEqual([]);
  const [row] = await store.read((sql) => sql`SELECT epoch > 1700000000 AS recent FROM publish_epoch`);
  expect(row.recent).toBe(true);
  await store.close();
}, 60_000);

test("migrate() in several processes at once migrates once", async () => {
  const url = await testDatabase();
  const stores = Array.from({ length: 4 }, () => new Store(url));
  const applied = await Promise.all(stores.map((store) => migrate(store)));
  expect(applied.flat()).toEqual(readMigrations().map((m) => m.name));
  for (const store of stores) await store.close();
}, 60_000);

test("migrate() refuses a database that is newer than the code, in words", async () => {
  const store = new Store(await testDatabase());
  await migrate(store);
  await store.read((sql) => sql`INSERT INTO schema_migrations (number, name) VALUES (9999, 'later')`);
  await expect(migrate(store)).rejects.toMatchObject({
    code: "store.newer_than_code",
    message: expect.stringMatching(/schema is number 9999, this version of Godwit knows \d+/),
  });
  await store.close();
}, 60_000);

test("migrate() leaves nothing of a migration that fails", async () => {
  const store = new Store(await testDatabase());
  const bad = {
    number: 1,
    name: "0001-bad.sql",
    sql: "CREATE TABLE half (n int); SELECT no_such_function();",
  };
  await expect(migrate(store, [bad])).rejects.toThrow(/no_such_function/);
  const rows = await store.read((sql) => sql`SELECT to_regclass('half') AS half`);
  expect(rows[0].half).toBeNull();
  await store.close();
}, 60_000);

/** A primary that dies under load, with a tail that its replica never had: no acknowledged row is missing on the edge. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../edge/edge.fixture.ts";
import { Cleanups } from "../../edge/replica/replica.fixture.ts";
import { newPassword } from "../servers/child.ts";
import { startRedisSentinel } from "../servers/redis-sentinel.ts";
import { Owners } from "./replication/owners.fixture.ts";

const DOWN_AFTER_MS = 500;
const CHANGES = 40;
/** Sentinels agree, elect and promote; then owners look, publish again and digest, and the replica heals. */
const WAIT_MS = 60_000;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

test("Sentinel: a primary that is killed under load takes no acknowledged row with it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-sentinel-"));
  cleanups.add(() => rmSync(folder, { recursive: true, force: true }));
  const passwords = { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() };
  const redis = await startRedisSentinel({ folder, passwords, downAfterMs: DOWN_AFTER_MS });
  cleanups.add(() => redis.stop());
  const owners = await Owners.start({ api: redis.urlOf("api"), worker: redis.urlOf("worker") });
  cleanups.add(() => owners.stop());
  const { replica } = cleanups.follow({ file: join(folder, "replica.sqlite"), url: redis.urlOf("edge") });

  owners.beginLoad();
  await until(() => owners.changes > CHANGES, WAIT_MS);
  const rowsOf = () => replica.stored().map(({ table, key }) => `${table} ${key}`).sort();
  await until(() => rowsOf().length > CHANGES, WAIT_MS);
  owners.reasons.length = 0;
  const killed = await redis.killPrimary(async () => {
    // Acknowledged by the primary, seen by the edge, and nowhere else.
    const from = owners.changes;
    await until(() => owners.changes > from + CHANGES, WAIT_MS);
    await owners.endLoad();
    await until(async () => await owners.waiting() === 0, WAIT_MS);
  });
  owners.beginLoad();
  await until(async () => await redis.primaryPort() !== killed, WAIT_MS);
  const from = owners.changes;
  await until(() => owners.changes > from + CHANGES, WAIT_MS);
  await owners.endLoad();
  await until(async () => await owners.waiting() === 0, WAIT_MS);

  const rows = await owners.rows();
  await until(() => {
    const { healing, digests } = replica.status();
    return healing === null && digests.differing === 0 && Bun.deepEquals(rowsOf(), rows);
  }, WAIT_MS);
  // Both owners found out.
  expect(owners.reasons.length).toBeGreaterThanOrEqual(2);
  expect([...new Set(owners.reasons)]).toEqual(["tail_lost"]);
  // Who begins only now finds all of it in the new primary's streams.
  const late = cleanups.follow({ file: join(folder, "late.sqlite"), url: redis.urlOf("edge") }).replica;
  await until(
    () => Bun.deepEquals(late.stored().map(({ table, key }) => `${table} ${key}`).sort(), rows),
    WAIT_MS,
  );
}, 180_000);

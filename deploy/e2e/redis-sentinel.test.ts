/** A primary that dies under load, with a tail that its replica never had: no acknowledged row is missing on the edge. */
import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { until } from "../../edge/edge.fixture.ts";
import { Cleanups } from "../../edge/replica/replica.fixture.ts";
import { startRedisSentinel } from "../servers/redis-sentinel.ts";
import {
  comeToRest,
  folderAndPasswords,
  rowsOf,
  untilHealed,
  untilItHas,
  untilMoreChanges,
  WAIT_MS,
} from "./replication/failover.fixture.ts";
import { Owners } from "./replication/owners.fixture.ts";

const DOWN_AFTER_MS = 500;
const CHANGES = 40;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

test("Sentinel: a primary that is killed under load takes no acknowledged row with it", async () => {
  const { folder, passwords } = folderAndPasswords(cleanups, "sentinel");
  const redis = await startRedisSentinel({ folder, passwords, downAfterMs: DOWN_AFTER_MS });
  cleanups.add(() => redis.stop());
  const owners = await Owners.start({ api: redis.urlOf("api"), worker: redis.urlOf("worker") });
  cleanups.add(() => owners.stop());
  const { replica } = cleanups.follow({ file: join(folder, "replica.sqlite"), url: redis.urlOf("edge") });

  owners.beginLoad();
  await until(() => owners.changes > CHANGES, WAIT_MS);
  await until(() => rowsOf(replica).length > CHANGES, WAIT_MS);
  owners.reasons.length = 0;
  const killed = await redis.killPrimary(async () => {
    // Acknowledged by the primary, seen by the edge, and nowhere else.
    await untilMoreChanges(owners, CHANGES);
    await comeToRest(owners);
  });
  owners.beginLoad();
  await until(async () => await redis.primaryPort() !== killed, WAIT_MS);
  await untilMoreChanges(owners, CHANGES);
  await comeToRest(owners);

  const rows = await owners.rows();
  await untilHealed(replica, rows);
  // Both owners found out.
  expect(owners.reasons.length).toBeGreaterThanOrEqual(2);
  expect([...new Set(owners.reasons)]).toEqual(["tail_lost"]);
  // Who begins only now finds all of it in the new primary's streams.
  const late = cleanups.follow({ file: join(folder, "late.sqlite"), url: redis.urlOf("edge") }).replica;
  await untilItHas(late, rows);
}, 180_000);

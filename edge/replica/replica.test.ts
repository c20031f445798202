/** The replica on a real Redis that is stopped, emptied and trimmed, and on files that are broken. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Redis } from "ioredis";
import { pino } from "pino";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisPasswords, startRedis } from "../../deploy/servers/redis.ts";
import { until } from "../edge.fixture.ts";
import type { RowChange } from "../routes/route-table.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../runtime/sqlite-node.ts";
import { pause } from "./pause.ts";
import { redisStreams } from "./redis-streams.ts";
import { Replica } from "./replica.ts";
import { FolderFiles } from "./replica-files.ts";
import { storeIn } from "./replica-store.ts";

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "godwit-replica-"));
  cleanups.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}
async function redisServer() {
  const passwords: RedisPasswords = {
    admin: newPassword(),
    api: newPassword(),
    worker: newPassword(),
    edge: newPassword(),
  };
  const at = folder();
  const options = { folder: at, port: await freePort(), passwords, logFile: join(at, "log"), durable: true };
  let server = await startRedis(options);
  cleanups.push(() => server.stop());
  return {
    urlOf: (user: keyof RedisPasswords) => server.urlOf(user),
    stop: () => server.stop(),
    restart: async () => void (server = await startRedis(options)),
  };
}
async function client(url: string): Promise<Redis> {
  const redis = new Redis(url, { protocol: 2 });
  redis.on("error", () => {});
  await redis.ping();
  cleanups.push(() => redis.disconnect());
  return redis;
}
function follow(file: string, url: string, regions: string[] = []) {
  const seen: RowChange[] = [];
  const replica = new Replica({
    world: {
      streams: redisStreams(url),
      files: new FolderFiles(file, openBunDatabase),
      snapshots: {
        list: () => Promise.resolve([]),
        fetch: () => Promise.reject(new Error("there are none")),
      },
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
      random: Math.random,
      pause,
    },
    regions,
    apiPublicKey: null,
    log: pino({ level: "silent" }),
    onChanges: (changes) => void seen.push(...changes),
  });
  replica.start();
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await replica.stop();
  };
  cleanups.push(stop);
  return { replica, seen, stop };
}
const APP = "a".repeat(20);
function event(hostname: string, seq: number, deleted = false, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    schema: 1,
    owner: "api",
    table: "hostnames",
    key: hostname,
    version: { epoch: 1, seq },
    deleted,
    row: deleted ? null : { hostname, app_id: APP },
    published_ms: Date.now(),
    ...more,
  });
}
const add = (redis: Redis, ...events: string[]) =>
  Promise.all(events.map((each) => redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(each))));
const keys = (replica: Replica) => replica.stored().map(({ key }) => key).sort();

describe("replica", () => {
  test("resumes after a restart from where it was", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    const file = join(folder(), "r.sqlite");
    const first = follow(file, server.urlOf("edge"));
    await add(redis, event("a.test", 1), event("b.test", 1));
    await until(() => first.seen.length === 2);
    await first.stop();
    await add(redis, event("c.test", 1), event("a.test", 2, true));
    const second = follow(file, server.urlOf("edge"));
    expect(second.replica.stored().length).toBe(2);
    await until(() => second.seen.length === 2);
    expect(keys(second.replica)).toEqual(["b.test", "c.test"]);
    expect(second.replica.status().tables.hostnames).toEqual({ rows: 2, tombstones: 1 });
    expect(second.replica.status().gaps).toBe(0);
  });

  test("a bad event is quarantined with its reason and stops nothing", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    const { replica, seen } = follow(join(folder(), "r.sqlite"), server.urlOf("edge"));
    await redis.xadd(GLOBAL_STREAM, "*", "other", "field");
    await add(
      redis,
      "{",
      event("x.test", 1, false, { owner: "worker:x" }),
      event("t", 1, false, { table: "ips" }),
      event("ok.test", 1),
    );
    await until(() => seen.length === 1);
    const status = replica.status();
    expect(status.events_quarantined).toEqual({ not_json: 2, wrong_owner: 1 });
    expect(status.unknown_tables).toEqual({ ips: 1 });
    expect(status.quarantine.map((row) => row.reason)).toContain("wrong_owner");
  });

  test("finds the regions by their streams, one that comes later too", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    const { replica } = follow(join(folder(), "r.sqlite"), server.urlOf("edge"));
    for (const region of ["fra", "syd"]) {
      const id = `h-${region}`;
      const row = { id, region, state: "ready", cpus: 1, memory_mb: 1 };
      const json = event(id, 1, false, { owner: `worker:${id}`, table: "hosts", row });
      await redis.xadd(regionStream(region), "*", ...rawBatch(json));
      await until(() => replica.has("hosts", id));
    }
    expect(Object.keys(replica.status().streams)).toContain(regionStream("syd"));
  });

  test("Redis away: serves on, knows that it is stale, and goes on when it is back", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    const { replica, seen } = follow(join(folder(), "r.sqlite"), server.urlOf("edge"));
    await add(redis, event("a.test", 1));
    await until(() => seen.length === 1);
    await server.stop();
    await until(() => !replica.status().connected);
    expect(replica.status().stale_ms).toBeGreaterThanOrEqual(0);
    expect(replica.stored().length).toBe(1);
    await server.restart();
    const again = await client(server.urlOf("admin"));
    await add(again, event("b.test", 1));
    await until(() => seen.length === 2);
    expect(replica.status()).toMatchObject({ connected: true, gaps: 0, last_error: null });
  }, 20_000);

  test("a stream that was emptied, or trimmed past the position, is a gap and is read again", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    const file = join(folder(), "r.sqlite");
    const first = follow(file, server.urlOf("edge"));
    await add(redis, event("a.test", 1));
    await until(() => first.seen.length === 1);
    await first.stop();
    await redis.del(GLOBAL_STREAM);
    await add(redis, event("a.test", 1), event("b.test", 1));
    const second = follow(file, server.urlOf("edge"));
    await until(() => second.seen.length === 1);
    expect(second.replica.status()).toMatchObject({ gaps: 1, events_old: 1 });
    await second.stop();
    await add(redis, event("c.test", 1), event("d.test", 1));
    await redis.xtrim(GLOBAL_STREAM, "MAXLEN", 1);
    const third = follow(file, server.urlOf("edge"));
    await until(() => third.seen.length === 1);
    expect(third.replica.status().gaps).toBe(1);
    expect(keys(third.replica)).toEqual(["a.test", "b.test", "d.test"]);
  });

  test("a file that SQLite cannot read is set aside and built anew", async () => {
    const server = await redisServer();
    const redis = await client(server.urlOf("admin"));
    await add(redis, event("a.test", 1));
    const file = join(folder(), "r.sqlite");
    writeFileSync(file, "this is no database, and is long enough to be looked at as one".repeat(100));
    const { seen } = follow(file, server.urlOf("edge"));
    await until(() => seen.length === 1);
    expect(await Bun.file(`${file}.aside`).exists()).toBe(true);
  });
});

for (const [name, open] of [["bun", openBunDatabase], ["node", openNodeDatabase]] as const) {
  describe(`replica store on ${name}:sqlite`, () => {
    test("the highest version wins in any order, tombstones included", () => {
      const change = fc.record({
        key: fc.constantFrom("a.test", "b.test"),
        epoch: fc.nat(2),
        seq: fc.nat(6),
        deleted: fc.boolean(),
      });
      fc.assert(
        fc.property(fc.array(change, { maxLength: 30 }), fc.array(fc.nat(29)), (changes, cuts) => {
          const store = storeIn(open(":memory:"));
          const at = [...new Set([0, ...cuts.filter((cut) => cut < changes.length), changes.length])].sort((
            a,
            b,
          ) => a - b);
          const best = new Map<string, typeof changes[number]>();
          for (const each of changes) {
            const old = best.get(each.key);
            if (!old || each.epoch > old.epoch || (each.epoch === old.epoch && each.seq > old.seq)) {
              best.set(each.key, each);
            }
          }
          at.slice(1).forEach((to, i) => {
            const events = changes.slice(at[i], to).map(({ key, epoch, seq, deleted }) => ({
              table: "hostnames" as const,
              event: {
                schema: 1 as const,
                owner: "api",
                table: "hostnames",
                key,
                version: { epoch, seq },
                deleted,
                row: deleted ? null : { hostname: key, app_id: APP, version: `${epoch}.${seq}` },
                published_ms: 1,
              },
            }));
            store.apply(GLOBAL_STREAM, `${i}-0`, events, [], 1);
          });
          const want = [...best.values()].filter((each) => !each.deleted).map((each) =>
            `${each.key}@${each.epoch}.${each.seq}`
          );
          const got = store.rows("hostnames").map(({ key, row }) =>
            `${key}@${(row as { version: string }).version}`
          );
          expect(got.sort()).toEqual(want.sort());
          store.close();
        }),
        { numRuns: 40 },
      );
    });

    test("rows and position are one transaction", () => {
      const store = storeIn(open(":memory:"));
      const bad = { table: "hostnames" as const, event: { key: null } as never };
      expect(() => store.apply(GLOBAL_STREAM, "1-0", [bad], [], 1)).toThrow();
      expect(store.positions().size).toBe(0);
      store.close();
    });
  });
}

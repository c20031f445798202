import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { testRedis } from "../../deploy/servers/testbed.ts";
import { logStream } from "../contract/events.ts";
import { newMachineId, newRowId } from "../contract/names.ts";
import { LOG_LINE_BYTES_MAX } from "../contract/guest-api.ts";
import {
  LOG_QUEUE_CHARS_MAX,
  LOG_QUEUE_LINES_MAX,
  LOG_TAIL_CHARS_MAX,
  LOG_TAIL_LINES_MAX,
  Logs,
} from "./logs.ts";
import { Metrics } from "./metrics.ts";
import { connectRedis } from "./redis.ts";
import { loadLogTail } from "./store/log-tails.ts";
import type { Store } from "./store/store.ts";
import { aStore } from "./store/store.fixture.ts";

let reader: Redis;
beforeAll(async () => void (reader = new Redis(await testRedis("admin"))), 60_000);
afterAll(() => reader.disconnect());

async function aLog(store: Store = aStore(() => 5), url?: string) {
  const [machine, app, metrics] = [newMachineId(), newRowId(), new Metrics()];
  const redis = connectRedis(url ?? await testRedis("worker"), () => {});
  const logs = new Logs({ redis, store, region: "dev", metrics, random: Math.random, appOf: () => app });
  const dropped = async () =>
    (await metrics.logLines.get()).values.find((value) => value.labels.outcome === "dropped")?.value ?? 0;
  return { logs, store, machine, app, redis, dropped };
}
const line = (seq: number, text: string) => ({ seq, stream: "stdout", at_ms: seq, line: text });

describe("Logs", () => {
  test("ships lines with where they came from, Godwit's own among them", async () => {
    const { logs, machine, app, redis } = await aLog();
    logs.start();
    logs.guest(machine, line(0, "hello"));
    logs.system(machine, "started");
    logs.guest(machine, { seq: 9, stream: "lost", at_ms: 6, line: "8" });
    const found: string[][] = [];
    for (let last = "0"; found.length < 3;) {
      const answer = await reader.xread("BLOCK", 20_000, "STREAMS", logStream(app), last);
      for (const [id, fields] of answer![0]![1]) {
        last = id;
        found.push(fields);
      }
    }
    const at = ["machine", machine, "region", "dev", "stream"];
    expect(found).toEqual([
      [...at, "stdout", "at_ms", "0", "line", "hello"],
      [...at, "system", "at_ms", "5", "line", "started"],
      [...at, "system", "at_ms", "6", "line", "8 log lines were lost"],
    ]);
    await logs.stop();
    redis.disconnect();
  }, 60_000);

  test("remembers the last lines and the position over a restart of the agent", async () => {
    const store = aStore();
    const first = await aLog(store);
    first.logs.start();
    for (let seq = 0; seq < LOG_TAIL_LINES_MAX + 50; seq++) {
      first.logs.guest(first.machine, line(seq, `line ${seq}`));
    }
    await first.logs.stop();
    first.redis.disconnect();
    const second = await aLog(store);
    expect(second.logs.nextSeq(first.machine)).toBe(LOG_TAIL_LINES_MAX + 50);
    const tail = second.logs.tail(first.machine, 1_000);
    expect(tail).toHaveLength(LOG_TAIL_LINES_MAX);
    expect(tail.at(-1)?.line).toBe(`line ${LOG_TAIL_LINES_MAX + 49}`);
    expect(second.logs.tail(first.machine, 2)).toHaveLength(2);
    second.logs.restart(first.machine);
    expect(second.logs.nextSeq(first.machine)).toBe(0);
    second.redis.disconnect();
  }, 60_000);

  test(
    "counts a new boot's lines anew also for an agent whose forerunner was killed right after the boot",
    async () => {
      const store = aStore();
      const first = await aLog(store);
      first.logs.start();
      first.logs.guest(first.machine, line(41, "of the old boot"));
      await first.logs.stop();
      first.logs.restart(first.machine);
      first.redis.disconnect();
      const second = await aLog(store);
      expect(second.logs.nextSeq(first.machine)).toBe(0);
      second.redis.disconnect();
    },
    60_000,
  );

  test("keeps lines that the disk has no room for, and saves them when it has", async () => {
    const store = aStore();
    const { logs, machine, redis } = await aLog(store);
    logs.guest(machine, line(0, "hello"));
    store.db.run("PRAGMA query_only = ON");
    await logs.stop();
    expect(loadLogTail(store, machine).nextSeq).toBe(0);
    store.db.run("PRAGMA query_only = OFF");
    await logs.stop();
    expect(loadLogTail(store, machine).nextSeq).toBe(1);
    redis.disconnect();
  }, 60_000);

  test("drops the oldest lines while Redis is away, counts them, and makes nobody wait", async () => {
    // Nobody listens there.
    const { logs, machine, redis, dropped } = await aLog(aStore(), "redis://worker:none@127.0.0.1:9/0");
    for (let seq = 0; seq < LOG_QUEUE_LINES_MAX + 25; seq++) logs.guest(machine, line(seq, "x"));
    expect(await dropped()).toBe(25);
    const long = "x".repeat(LOG_LINE_BYTES_MAX);
    const fits = Math.floor(LOG_QUEUE_CHARS_MAX / LOG_LINE_BYTES_MAX);
    for (let n = 0; n < fits + 10; n++) logs.guest(machine, line(LOG_QUEUE_LINES_MAX + 25 + n, long));
    expect(await dropped()).toBe(25 + LOG_QUEUE_LINES_MAX + 10);
    expect(logs.tail(machine, LOG_TAIL_LINES_MAX)).toHaveLength(LOG_TAIL_CHARS_MAX / LOG_LINE_BYTES_MAX);
    logs.start();
    await logs.stop();
    redis.disconnect();
  }, 60_000);
});

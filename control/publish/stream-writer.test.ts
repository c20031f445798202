import { afterAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { testRedis } from "../../deploy/servers/testbed.ts";
import { BATCH_BYTES_MAX, BATCH_EVENTS_MAX, regionStream, type StateEvent } from "../contract/events.ts";
import { newSigningKeyPem, signingKey } from "../contract/signing.ts";
import { readAnew } from "./fresh-reader.fixture.ts";
import { nextId } from "./must-republish.ts";
import { appendDigest, appendEvents, batchesOf } from "./stream-writer.ts";

const stream = regionStream("swt");
const redis = new Redis(await testRedis("admin"), { protocol: 2 });
afterAll(() => redis.disconnect());

function event(seq: number, filler = ""): StateEvent {
  return {
    schema: 1,
    owner: "worker:h1",
    table: "machines",
    key: `h1/${seq}`,
    version: { epoch: 1, seq },
    deleted: false,
    row: { filler },
    published_ms: 0,
  };
}

test("batchesOf() fills entries up to their bounds, keeps the order and loses nothing", () => {
  const many = Array.from({ length: BATCH_EVENTS_MAX + 1 }, (_, i) => event(i));
  expect(batchesOf(many).map((batch) => batch.length)).toEqual([BATCH_EVENTS_MAX, 1]);
  const large = Array.from({ length: 10 }, (_, i) => event(i, "ä".repeat(20_000)));
  const batches = batchesOf(large);
  expect(batches.flat()).toEqual(large);
  for (const batch of batches) {
    expect(Buffer.byteLength(JSON.stringify(batch))).toBeLessThanOrEqual(BATCH_BYTES_MAX);
  }
  // 40 KB each, 256 KiB together.
  expect(batches.map((batch) => batch.length)).toEqual([6, 4]);
  expect(() => batchesOf([event(1, "x".repeat(65_536))])).toThrow("oversize");
});

test("appendEvents() signs each entry, and says the first and the last id", async () => {
  const key = signingKey(newSigningKeyPem());
  const events = Array.from({ length: BATCH_EVENTS_MAX + 1 }, (_, i) => event(i));
  const { firstId, lastId } = await appendEvents(redis, stream, events, key);
  const entries = await redis.xrange(stream, "-", "+");
  expect(entries.map(([id]) => id)).toEqual([firstId, lastId]);
  const reading = await readAnew(redis, stream, "worker:h1", key.publicKey);
  expect([reading.live.size, reading.unsigned]).toEqual([events.length, 0]);
  const other = signingKey(newSigningKeyPem()).publicKey;
  expect((await readAnew(redis, stream, "worker:h1", other)).unsigned).toBe(2);
});

test("appendDigest() under the next id is refused where something came in between", async () => {
  const { lastId } = await appendEvents(redis, stream, [event(1)], null);
  const newest = { epoch: 1, seq: 1 };
  const digest = {
    schema: 1 as const,
    owner: "worker:h1",
    tables: {},
    newest,
    floor_epoch: 0,
    published_ms: 0,
  };
  expect(await appendDigest(redis, stream, digest, null, nextId(lastId))).toBe(nextId(lastId));
  await expect(appendDigest(redis, stream, digest, null, nextId(lastId))).rejects.toThrow(/equal or smaller/);
});

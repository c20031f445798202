import { afterAll, beforeAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { testRedis } from "../../deploy/servers/testbed.ts";
import { regionStream, type StateDigest, type StateEvent } from "../contract/events.ts";
import { newSigningKeyPem, signingKey } from "../contract/signing.ts";
import { newestPublished } from "./own-history.ts";
import { appendDigest, appendEvents } from "./stream-writer.ts";

const stream = regionStream("ohi");
const owner = "worker:h1";
const key = signingKey(newSigningKeyPem());
let redis: Redis;
beforeAll(async () => {
  redis = new Redis(await testRedis("admin"), { protocol: 2 });
}, 60_000);
afterAll(() => redis.disconnect());

function event(seq: number, by = owner): StateEvent {
  const version = { epoch: 1, seq };
  return {
    schema: 1,
    owner: by,
    table: "hosts",
    key: "h1",
    version,
    deleted: false,
    row: {},
    published_ms: 0,
  };
}

function digest(seq: number): StateDigest {
  return { schema: 1, owner, tables: {}, newest: { epoch: 1, seq }, floor_epoch: 0, published_ms: 0 };
}

test("newestPublished() is the highest version from the newest digest on, and null before there is any", async () => {
  expect(await newestPublished(redis, stream, owner, key)).toBe(null);
  await appendEvents(redis, stream, [event(90)], key);
  await appendDigest(redis, stream, digest(7), key);
  expect(await newestPublished(redis, stream, owner, key)).toEqual({ epoch: 1, seq: 7 });
  await appendEvents(redis, stream, [event(9), event(8)], key);
  expect(await newestPublished(redis, stream, owner, key)).toEqual({ epoch: 1, seq: 9 });
});

test("newestPublished() looks past what others, forgers and later versions of Godwit wrote, pages of it", async () => {
  const forger = signingKey(newSigningKeyPem());
  await appendDigest(redis, stream, digest(999), forger);
  await appendDigest(redis, stream, digest(998), null);
  await redis.xadd(stream, "*", "owner", owner, "batch", "not JSON", "signature", "x");
  await redis.xadd(stream, "*", "something", "else");
  for (let i = 0; i < 250; i++) await appendEvents(redis, stream, [event(i, "worker:h2")], null);
  expect(await newestPublished(redis, stream, owner, key)).toEqual({ epoch: 1, seq: 9 });
  expect(await newestPublished(redis, stream, owner, null)).toEqual({ epoch: 1, seq: 998 });
});

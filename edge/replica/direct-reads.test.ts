import { afterAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import { DirectReads } from "./direct-reads.ts";
import { ReplyError } from "./reply-parser.ts";

const server = await startOwnRedis();
afterAll(() => server.stop());

const text = (bytes: Buffer, from: number, to: number) => bytes.toString("utf8", from, to);

async function connected(): Promise<{ redis: Redis; direct: DirectReads }> {
  const redis = new Redis(server.urlOf("admin"), {
    protocol: 2,
    lazyConnect: true,
    retryStrategy: () => null,
  });
  redis.on("error", () => {});
  await redis.connect();
  return { redis, direct: DirectReads.of(redis)! };
}

describe("DirectReads", () => {
  test("takes turns with ioredis on one connection", async () => {
    const { redis, direct } = await connected();
    const id = await redis.xadd("stream", "*", "name", "größer".repeat(50_000));
    for (let round = 0; round < 3; round++) {
      const found = await direct.ask(["XREAD", "STREAMS", "stream", "0"], text);
      expect(found).toEqual([["stream", [[id, ["name", "größer".repeat(50_000)]]]]]);
      expect(await redis.xlen("stream")).toBe(1);
    }
    expect(DirectReads.of(redis)).toBe(direct);
    redis.disconnect();
  });

  test("passes on what the server refuses, and goes on", async () => {
    const { redis, direct } = await connected();
    await redis.set("word", "1");
    const refused = await direct.ask(["XREAD", "STREAMS", "word", "0"], text).catch((error) => error);
    expect(refused).toBeInstanceOf(ReplyError);
    expect(refused.message).toStartWith("WRONGTYPE ");
    expect(await direct.ask(["PING"], text)).toBe("PONG");
    redis.disconnect();
  });

  test("rejects what waits on a connection that ends, and has none for it then", async () => {
    const { redis, direct } = await connected();
    const asked = direct.ask(["XREAD", "BLOCK", "60000", "STREAMS", "nothing", "0"], text);
    const other = await connected();
    await other.redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    expect(await asked.catch((error) => String(error))).toContain("closed");
    expect(DirectReads.of(redis)).toBeNull();
    other.redis.disconnect();
  });
});

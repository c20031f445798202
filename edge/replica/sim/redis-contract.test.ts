/** The fake Redis answers as the real one does: the same random operations on both, the same answers. */
import { afterAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { GLOBAL_STREAM, regionStream } from "../../../control/contract/events.ts";
import { startOwnRedis } from "../../../deploy/servers/testbed.ts";
import type { StreamSession } from "../ports.ts";
import { redisStreams } from "../redis-streams.ts";
import { Chance } from "./chance.ts";
import { FakeRedis } from "./fake-redis.ts";
import { connectFake } from "./fake-session.ts";
import { World } from "./world.ts";

const ROUNDS = 20;
const OPERATIONS = 120;
const STREAMS = [GLOBAL_STREAM, regionStream("ams"), regionStream("fra")];

const server = await startOwnRedis();
const admin = new Redis(server.urlOf("admin"), { protocol: 2 });
const real = await redisStreams(server.urlOf("edge")).connect();
afterAll(async () => {
  real.close();
  admin.disconnect();
  await server.stop();
});

/** A world with a fake in it, and a session on it that answers by itself. */
async function fake(seed: number) {
  const world = new World(seed);
  const redis = new FakeRedis(world);
  const session = await world.result(connectFake(world, redis, { lossRate: 0 }));
  const answering: StreamSession = {
    regionStreams: () => world.result(session.regionStreams()),
    info: (stream) => world.result(session.info(stream)),
    read: (...asked) => world.result(session.read(...asked)),
    close: () => session.close(),
  };
  return { world, redis, session, answering };
}

/** Both, in whatever order a server lists its keys. */
async function names(session: StreamSession): Promise<string[]> {
  return (await session.regionStreams()).sort();
}

describe("the fake Redis", () => {
  test("answers random operations as the real one does", async () => {
    let reads = 0, refused = 0;
    for (let seed = 1; seed <= ROUNDS; seed++) {
      await admin.flushall();
      const chance = new Chance(seed);
      const { redis, answering } = await fake(seed);
      let ms = 1;
      for (let n = 0; n < OPERATIONS; n++) {
        const stream = chance.pick(STREAMS);
        const id = `${ms + chance.between(-1, 1)}-${chance.between(1, 3)}`;
        switch (chance.between(0, 9)) {
          case 0:
            await admin.del(stream);
            redis.delete(stream);
            break;
          case 1: {
            const left = chance.between(0, 5);
            expect(redis.trim(stream, left)).toBe(await admin.xtrim(stream, "MAXLEN", "=", left));
            break;
          }
          case 2:
            expect(await answering.info(stream)).toEqual(await real.info(stream));
            break;
          case 3:
            expect(await names(answering)).toEqual(await names(real));
            break;
          case 4:
            expect(redis.holds(stream, id)).toBe((await admin.xrange(stream, id, id)).length > 0);
            break;
          case 5:
          case 6: {
            const followed = STREAMS.filter(() => chance.happens(0.7));
            if (followed.length === 0) break;
            const from = () => `${chance.between(0, ms + 1)}-${chance.between(0, 3)}`;
            const positions = new Map(followed.map((each) => [each, from()]));
            const count = chance.between(1, 4);
            const answer = await answering.read(positions, count, 0);
            expect(answer).toEqual(await real.read(positions, count, 0));
            reads += answer.length;
            break;
          }
          default: {
            const fields = ["owner", "api", "batch", String(n)];
            const wanted = await admin.xadd(stream, id, ...fields).catch(() => null);
            let made: string | null = null;
            try {
              made = redis.append(stream, fields, id);
              ms += chance.between(0, 2);
            } catch {
              refused++;
            }
            expect(made).toBe(wanted);
          }
        }
      }
    }
    expect(reads).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(10);
  }, 30_000);

  test("a blocked read brings what is appended meanwhile, of that stream alone", async () => {
    await admin.flushall();
    const { world, redis, session } = await fake(1);
    const positions = new Map(STREAMS.map((stream) => [stream, "0-0"]));
    const fields = ["owner", "api", "batch", "[]"];
    const blockMs = 4_000;
    const [fromReal, fromFake] = [real.read(positions, 10, blockMs), session.read(positions, 10, blockMs)];
    // The reader's command is at the server once it counts a client that waits.
    while (!/blocked_clients:1/.test(await admin.info("clients")));
    await admin.xadd(regionStream("ams"), "5-1", ...fields);
    world.after(100, () => redis.append(regionStream("ams"), fields, "5-1"));
    expect(await world.result(fromFake)).toEqual(await fromReal);
    expect(world.nowMs).toBeLessThan(blockMs);
    // And nothing where nothing comes.
    const later = new Map(STREAMS.map((stream) => [stream, "9-9"]));
    expect(await world.result(session.read(later, 10, 50))).toEqual(await real.read(later, 10, 50));
  }, 30_000);

  test("an id by the clock is newer than every id before it, whatever the clock says", async () => {
    await admin.flushall();
    const { redis } = await fake(1);
    const future = "9999999999999-7";
    for (
      const add of [
        (id: string) => admin.xadd("s", id, "a", "b"),
        (id: string) => redis.append("s", ["a", "b"], id === "*" ? null : id),
      ]
    ) {
      await add(future);
      expect(await add("*")).toBe("9999999999999-8");
    }
  });
});

/** Queries beside a replicator's process: answered from its start, and never in the way of what it is for. */
import { afterEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { weightOf } from "../rows/news-weight.ts";
import { Redis } from "ioredis";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import { idOf, until } from "../edge.fixture.ts";
import { cleanedUp, cleanUp, newFolder } from "../snapshot/snapshot.fixture.ts";
import { forkReplicator } from "./child-process.ts";

afterEach(cleanUp);

const BOMB = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

test(
  "a replicator goes on applying while statements that never end run, and ends with all of its processes",
  async () => {
    const server = await startOwnRedis();
    cleanedUp(() => server.stop());
    const redis = new Redis(server.urlOf("admin"));
    cleanedUp(() => redis.disconnect());
    const folder = newFolder(), socket = join(folder, "query.sock");
    const child = forkReplicator();
    const queries: Record<string, unknown>[] = [];
    child.onMessage((message) => {
      if (message.type === "heartbeat") {
        queries.push(message.status.details.queries as Record<string, unknown>);
      }
      if (message.type === "news") child.send({ type: "more", taken: weightOf(message.news) });
    });
    const rows = {
      from: "redis" as const,
      redis_url: server.urlOf("edge"),
      replica_file: join(folder, "r.sqlite"),
    };
    const settings = { rows: { ...rows, query: { socket } }, regions: [], logLevel: "silent" };
    child.send({ type: "settings", settings });
    const ask = (sql: string) =>
      fetch(
        "http://replica/query",
        { method: "POST", body: JSON.stringify({ sql }), unix: socket } as RequestInit,
      );
    const rowsNow = async () =>
      Number(/"row":\[(\d+)\]/.exec(await (await ask("SELECT count(*) FROM hostnames")).text())?.[1]);
    const publish = (seq: number) =>
      redis.xadd(
        GLOBAL_STREAM,
        "*",
        ...rawBatch(JSON.stringify({
          ...{ schema: 1, owner: "api", table: "hostnames", key: `${seq}.test`, version: { epoch: 1, seq } },
          ...{
            deleted: false,
            row: { hostname: `${seq}.test`, app_id: idOf("a") },
            published_ms: Date.now(),
          },
        })),
      );
    await until(() => ask("SELECT 1").then(({ ok }) => ok, () => false), 20_000);
    await publish(1);
    await until(async () => await rowsNow() === 1);
    const bombs = [1, 2, 3].map(() => ask(BOMB));
    // The fourth place is for those who ask how far the replicator is.
    for (let seq = 2; seq < 6; seq++) {
      await publish(seq);
      await until(async () => await rowsNow() === seq, 4_000);
    }
    expect((await Promise.all(bombs)).map(({ status }) => status)).toEqual([422, 422, 422]);
    await until(() => queries.at(-1)?.killed === 3);
    child.send({ type: "stop" });
    expect(await child.exited).toBe("exit status 0");
    expect(existsSync(socket)).toBe(false);
  },
  60_000,
);

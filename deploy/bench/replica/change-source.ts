/**
 * The control plane's part: commits changes to Postgres at a steady pace, each announced in the transaction that makes it,
 * and runs the publisher that carries them to Redis, in one process as in life. A change counts from the moment its COMMIT
 * is sent, so that what the commit itself takes is part of the figure.
 */
import { writeFileSync } from "node:fs";
import { newRowId } from "../../../control/contract/names.ts";
import { announceApp, announceHostname } from "../../../control/publish/announce.ts";
import { Publisher } from "../../../control/publish/publisher.ts";
import { connectRedis } from "../../../control/publish/redis.ts";
import { insertApp } from "../../../control/store/apps.ts";
import { Store } from "../../../control/store/database.ts";
import { insertHostname } from "../../../control/store/hostnames.ts";
import { migrate } from "../../../control/store/migrate.ts";
import { ensureOrganization } from "../../../control/store/organizations.ts";
import { type Answer, probeHost, sharedNowMs, type ToSource } from "./probe.ts";
import { answerMessages } from "./program.ts";

/** Transactions under way: more would wait for a connection, and be late all the same. */
const TRANSACTIONS_MAX = 6;
/** A transaction that began so long after its time shows that the pace was not kept. */
const LATE_MS = 50;
/** A machine that cannot keep the pace would be at it for long. */
const OVERTIME = 2;

let store: Store;
let publisher: Publisher;
let appId: string;
let committedMs: Float64Array;

answerMessages<ToSource>(async (message): Promise<Answer | void> => {
  switch (message.type) {
    case "open":
      return await open(message.databaseUrl, message.redisUrl, message.probes);
    case "run":
      return await run(message);
    case "report":
      return writeFileSync(message.file, committedMs);
    case "stop":
      await publisher?.stop();
      await store?.close();
  }
});

async function open(databaseUrl: string, redisUrl: string, probes: number): Promise<void> {
  committedMs = new Float64Array(probes).fill(NaN);
  store = new Store(databaseUrl);
  await migrate(store);
  const { id: orgId } = await store.read((sql) => ensureOrganization(sql, "bench"));
  appId = newRowId();
  await store.transaction(async (tx) => {
    await insertApp(tx, { id: appId, orgId, name: "bench" });
    await announceApp(tx, appId);
  });
  const redis = connectRedis(redisUrl);
  await redis.connect();
  // Edges of this benchmark look at no signatures.
  const unsigned = { key: null };
  publisher = new Publisher({
    store,
    redis,
    log: (_, line) => process.stderr.write(`${line}\n`),
    ...unsigned,
  });
  await publisher.start();
}

async function run(
  { first, count, perSecond, perTransaction }: ToSource & { type: "run" },
): Promise<Answer> {
  const startMs = performance.now();
  const underWay = new Set<Promise<void>>();
  const endMs = startMs + OVERTIME * count * 1_000 / perSecond;
  let [late, done] = [0, 0];
  for (; done < count && performance.now() < endMs; done += perTransaction) {
    const dueMs = startMs + done * 1_000 / perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    while (underWay.size >= TRANSACTIONS_MAX) await Promise.race(underWay);
    if (performance.now() - dueMs > LATE_MS) late += perTransaction;
    const change: Promise<void> = commit(first + done, Math.min(perTransaction, count - done))
      .finally(() => underWay.delete(change));
    underWay.add(change);
  }
  await Promise.all(underWay);
  return { type: "ran", count: Math.min(done, count), seconds: (performance.now() - startMs) / 1_000, late };
}

async function commit(first: number, count: number): Promise<void> {
  let sentMs = NaN;
  await store.transaction(async (tx) => {
    for (let index = first; index < first + count; index++) {
      await insertHostname(tx, probeHost(index), appId);
      await announceHostname(tx, probeHost(index));
    }
    sentMs = sharedNowMs();
  });
  committedMs.fill(sentMs, first, first + count);
}

/** A relay's rows from files that a replicator has written. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { ValidEvent } from "../replica/replica-store.ts";
import { storeIn } from "../replica/replica-store.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import { idOf, until } from "../edge.fixture.ts";
import { RouteTable } from "../routes/route-table.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { SharedRows } from "./shared-rows.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-shared-rows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const named = (hostname: string, seq: number): ValidEvent => ({
  table: "hostnames",
  event: {
    ...{ schema: 1, owner: "api", table: "hostnames", key: hostname, version: { epoch: 1, seq } },
    ...{ deleted: false, row: { hostname, app_id: idOf("app") }, published_ms: 1 },
  },
});

test("SharedRows forgets what another generation of the file does not have, deleted there or not", async () => {
  const file = join(folder, "replica.sqlite");
  const files = new FolderFiles(file, openBunDatabase);
  const generation = (...events: ValidEvent[]) => {
    const store = storeIn(files.createNext());
    store.apply("godwit:state:global", "1-1", events, [], 1);
    files.takeOver();
    store.close();
  };
  generation(named("stays.test", 1), named("lost.test", 2));
  const table = new RouteTable({ region: "ams", nowMs: () => 0, wallMs: () => 0 });
  const rows = new SharedRows({
    ...{
      file,
      openDatabase: openBunDatabase,
      log: pino({ level: "silent" }),
      nowMs: () => performance.now(),
    },
    onChanges: (changes) => table.apply(changes),
    heldKeys: (name) => table.keys(name),
    askForMore: () => {},
    random: () => 0.5,
  });
  await rows.start();
  expect([...table.keys("hostnames")].sort()).toEqual(["lost.test", "stays.test"]);
  generation(named("stays.test", 1), named("new.test", 3));
  rows.heard({ type: "news", news: { keys: [], all: false, takenOver: true } });
  await until(() => table.find("new.test") !== null && table.find("lost.test") === null);
  expect([...table.keys("hostnames")].sort()).toEqual(["new.test", "stays.test"]);
  await rows.stop();
});

test("SharedRows reads what two messages name that are heard in one turn, and asks for more at a heartbeat at the latest", async () => {
  const file = join(folder, "two.sqlite");
  const files = new FolderFiles(file, openBunDatabase);
  const store = storeIn(files.createNext());
  files.takeOver();
  const read: string[] = [], asked: number[] = [];
  const rows = new SharedRows({
    ...{ file, openDatabase: openBunDatabase, log: pino({ level: "silent" }) },
    onChanges: (changes) => read.push(...changes.map(({ key }) => key)),
    heldKeys: () => [],
    askForMore: (taken) => asked.push(taken),
    nowMs: () => performance.now(),
    random: () => 0.5,
  });
  await rows.start();
  store.apply("godwit:state:global", "1-1", [named("one.test", 1), named("two.test", 2)], [], 1);
  for (const key of ["one.test", "two.test"]) {
    rows.heard({ type: "news", news: { keys: [["hostnames", [key]]], all: false, takenOver: false } });
  }
  await until(() => read.length === 2);
  expect(read).toEqual(["one.test", "two.test"]);
  expect(asked).toEqual([]);
  const progress = { answered: 1, taken: 1 };
  const status = {
    from: "redis",
    connected: true,
    stale_ms: 0,
    quarantined: 0,
    gaps: 0,
    details: {},
  } as const;
  for (let beat = 0; beat < 2; beat++) {
    rows.heard({ type: "heartbeat", status, beat: { progress, connected: true, newsHeld: false } });
  }
  expect(asked).toEqual([2]);
  await rows.stop();
  store.close();
});

/** Each way in which a replica can be wrong, with a real Redis and a real file: it is found, told and healed. */
import { afterEach, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { batchFields } from "../../control/contract/stream-entry.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { until } from "../edge.fixture.ts";
import { ReplicaReader } from "../rows/replica-reader.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";
import { type FileSystem, nodeFiles } from "./file-system.ts";
import type { SnapshotSources } from "./ports.ts";
import { REPLICA_SCHEMA } from "./replica-schema.ts";
import { APP, Cleanups, TestPublisher } from "./replica.fixture.ts";
import type { Replica } from "./replica.ts";

const cleanups = new Cleanups();
afterEach(() => cleanups.run());

const WAIT_MS = 20_000;
const names = (replica: Replica) => replica.stored().map(({ key }) => key).sort();

/** A replica that has three host names and a host, all agreed. */
async function settled() {
  const { url, admin } = await cleanups.redis();
  const api = new TestPublisher(admin, "api"), worker = new TestPublisher(admin, "worker:h1");
  for (const name of ["a", "b", "c"]) await api.hostname(`${name}.test`);
  await worker.host();
  await api.digest();
  await worker.digest();
  const file = join(cleanups.folder(), "r.sqlite");
  const followed = cleanups.follow({ file, url });
  const { replica } = followed;
  await until(() => replica.status().digests.owners === 2, WAIT_MS);
  expect(replica.status()).toMatchObject({ incidents_count: 0, digests: { differing: 0 } });
  return { url, admin, api, worker, file, ...followed };
}
const healed = (replica: Replica, many = 1) =>
  until(() => replica.status().bootstraps === many && replica.status().healing === null, WAIT_MS);
const ALL = ["a.test", "b.test", "c.test", "h1"];

describe("a replica", () => {
  test("that a trim overtook is built anew, and loses what was deleted meanwhile", async () => {
    const { admin, api, worker, file, url, stop } = await settled();
    await stop();
    await api.hostname("b.test", true);
    await api.hostname("d.test");
    await admin.xtrim(GLOBAL_STREAM, "MAXLEN", 1);
    const again = cleanups.follow({ file, url });
    await until(() => again.replica.status().incidents_count === 1, WAIT_MS);
    // The owner sees that its stream was trimmed past its last full publication.
    await api.publishAgain();
    await worker.digest();
    await healed(again.replica);
    expect(names(again.replica)).toEqual(["a.test", "c.test", "d.test", "h1"]);
    const { last_bootstrap, incidents } = again.replica.status();
    expect(last_bootstrap).toMatchObject({ why: "gap", from: "streams", carried: 0 });
    expect(incidents[0]).toMatchObject({ kind: "gap", stream: GLOBAL_STREAM });
    expect(incidents[0]!.healed_ms).not.toBeNull();
    expect(again.takeOvers).toBe(1);
  }, 40_000);

  test(
    "misses an entry that was trimmed before it was read, and finds that out without a digest",
    async () => {
      const { admin, api, worker, replica } = await settled();
      const entry = (name: string, row: Record<string, unknown> | null) =>
        batchFields(api.stream, api.owner, [api.event("hostnames", name, row)], api.key);
      // Nobody can read the first one: to others it is there and gone in the same moment.
      await admin.multi()
        .xadd(api.stream, "*", ...entry("b.test", null))
        .xadd(api.stream, "*", ...entry("d.test", { hostname: "d.test", app_id: APP }))
        .xtrim(api.stream, "MAXLEN", "=", 1)
        .exec();
      await until(() => replica.has("hostnames", "d.test"), WAIT_MS);
      expect(replica.has("hostnames", "b.test")).toBe(true);
      await until(() => replica.status().incidents_count === 1, WAIT_MS);
      expect(replica.status().incidents[0]).toMatchObject({ kind: "gap", stream: GLOBAL_STREAM });
      await api.publishAgain();
      await worker.digest();
      await healed(replica);
      expect(names(replica)).toEqual(["a.test", "c.test", "d.test", "h1"]);
    },
    40_000,
  );

  test("goes on serving while Redis is emptied, and keeps the rows of an owner that is silent", async () => {
    const { admin, api, replica, seen } = await settled();
    await admin.flushall();
    await until(() => replica.status().healing !== null, WAIT_MS);
    expect(names(replica)).toEqual(ALL);
    await api.hostname("c.test", true);
    await api.publishAgain();
    await healed(replica);
    expect(names(replica)).toEqual(["a.test", "b.test", "h1"]);
    expect(replica.status().last_bootstrap).toMatchObject({ why: "gap", carried: 1 });
    expect(seen.some(({ key, row }) => key === "c.test" && row === null)).toBe(true);
    // Not a word was said of those that stayed.
    expect(seen.filter(({ row }) => row === null).length).toBe(1);
  }, 40_000);

  test("finds a byte that was flipped in its file", async () => {
    const { replica, file, api, worker } = await settled();
    checkpoint(file);
    flip(realFile(file), `"hostname":"b.test"`, `"hostname":"B.test"`);
    await until(() => replica.status().incidents_count === 1, WAIT_MS);
    await api.digest();
    await worker.digest();
    await healed(replica);
    expect(replica.stored().find(({ key }) => key === "b.test")?.row).toMatchObject({ hostname: "b.test" });
    const { incidents, last_bootstrap } = replica.status();
    expect(incidents[0]).toMatchObject({ kind: "scrub", detail: `hostnames "b.test" is damaged` });
    expect(last_bootstrap?.differences).toEqual([{
      ...{ table: "hostnames", key: "b.test", before: "damaged", after: "1.2" },
    }]);
    // The damaged one is kept for whoever wants to look at it.
    await until(() => existsSync(`${file}.aside`), WAIT_MS);
    expect(readlinkSync(`${file}.aside`)).toBe("r.sqlite.1");
  }, 40_000);

  test("finds a row that was deleted behind its back", async () => {
    const { replica, file } = await settled();
    const stranger = openBunDatabase(file);
    stranger.exec("DELETE FROM hostnames WHERE key = 'b.test'");
    stranger.close();
    await healed(replica);
    expect(names(replica)).toEqual(ALL);
    const { incidents, last_bootstrap } = replica.status();
    expect(incidents[0]).toMatchObject({ kind: "scrub" });
    expect(incidents[0]!.differences).toMatchObject([{
      ...{ owner: "api", table: "hostnames", expected: { rows: 3 }, found: { rows: 2 } },
    }]);
    expect(last_bootstrap?.differences).toEqual([{
      ...{ table: "hostnames", key: "b.test", before: null, after: "1.2" },
    }]);
  }, 40_000);

  test("finds an event that it skipped, by the owner's next digest", async () => {
    const { api, file, url, stop } = await settled();
    await stop();
    const skipped = await api.hostname("d.test");
    const stranger = openBunDatabase(file);
    stranger.prepare("UPDATE streams SET position = ?, furthest = ? WHERE name = ?").run(
      ...[skipped, skipped, GLOBAL_STREAM],
    );
    stranger.close();
    const again = cleanups.follow({ file, url });
    await until(() => again.replica.status().connected, WAIT_MS);
    const digest = await api.digest();
    await healed(again.replica);
    expect(names(again.replica)).toEqual(["a.test", "b.test", "c.test", "d.test", "h1"]);
    const { incidents, digests, last_bootstrap } = again.replica.status();
    expect(incidents[0]).toMatchObject({ kind: "digest", stream: GLOBAL_STREAM, position: digest });
    expect(incidents[0]!.differences).toMatchObject([{
      ...{ owner: "api", table: "hostnames", expected: { rows: 4 }, found: { rows: 3 } },
    }]);
    expect(digests).toMatchObject({ differing: 0 });
    expect(last_bootstrap?.differences).toEqual([{
      ...{ table: "hostnames", key: "d.test", before: null, after: "1.4" },
    }]);
  }, 40_000);

  test("of another schema serves until one of ours has caught up", async () => {
    const { file, url, stop, admin } = await settled();
    await stop();
    const stranger = openBunDatabase(file);
    for (const table of ["hostnames", "hosts"]) stranger.exec(`ALTER TABLE ${table} DROP COLUMN checksum`);
    stranger.exec("PRAGMA user_version = 1");
    // Of an owner that Redis knows nothing of.
    stranger.exec(`INSERT INTO hosts VALUES ('h9', 'worker:h9', 1, 1, 0, 1, '{"id":"h9"}')`);
    stranger.close();
    expect(await admin.xlen(GLOBAL_STREAM)).toBe(4);
    const again = cleanups.follow({ file, url });
    expect(readlinkSync(file)).toBe("r.sqlite.1");
    await again.replica.caughtUp();
    await healed(again.replica);
    expect(readlinkSync(file)).toBe("r.sqlite.2");
    expect(names(again.replica)).toEqual([...ALL, "h9"]);
    expect(again.replica.status().last_bootstrap).toMatchObject({ why: "another schema", carried: 1 });
    await until(() => !existsSync(`${file}.1`), WAIT_MS);
  }, 40_000);

  test("tells readers of rows that are gone without a tombstone", async () => {
    const { admin, replica, file, seen, worker } = await settled();
    await admin.flushall();
    await until(() => replica.status().healing !== null, WAIT_MS);
    // It was restored from a backup that knows of one name, and of no deletion.
    const restored = new TestPublisher(admin, "api");
    await restored.hostname("a.test");
    await restored.digest();
    await worker.publishAgain();
    await healed(replica);
    expect(names(replica)).toEqual(["a.test", "h1"]);
    const reader = new ReplicaReader(file, openBunDatabase);
    const gone = [...reader.pages(() => 100)].flat().filter(({ row }) => row === null).map(({ key }) => key);
    reader.close();
    expect(gone).toEqual(["b.test", "c.test"]);
    expect(seen.filter(({ row }) => row === null).map(({ key }) => key)).toEqual(gone);
    // Any version of theirs is newer than that.
    await restored.hostname("b.test");
    await until(() => replica.has("hostnames", "b.test"), WAIT_MS);
  }, 40_000);

  test("that cannot take over serves on, and tries again", async () => {
    let full = true, attempts = 0;
    const { url, admin } = await cleanups.redis();
    const api = new TestPublisher(admin, "api");
    await api.hostname("a.test");
    await api.digest();
    const file = join(cleanups.folder(), "r.sqlite");
    const files: FileSystem = {
      ...nodeFiles,
      symlink(target, path) {
        if (target.endsWith(".2") && path.endsWith(".link")) {
          attempts++;
          if (full) throw new Error("no space left on device");
        }
        nodeFiles.symlink(target, path);
      },
    };
    const { replica } = cleanups.follow({ file, url, files });
    await until(() => replica.status().digests.owners === 1, WAIT_MS);
    const stranger = openBunDatabase(file);
    stranger.exec("DELETE FROM hostnames");
    stranger.close();
    await until(() => attempts >= 2, WAIT_MS);
    expect(replica.status()).toMatchObject({
      bootstraps: 0,
      healing: { last_error: "no space left on device" },
    });
    expect(readlinkSync(file)).toBe("r.sqlite.1");
    full = false;
    await healed(replica);
    expect(names(replica)).toEqual(["a.test"]);
    expect(replica.status()).toMatchObject({ incidents_count: 1, healing: null });
  }, 40_000);

  test("whose owner's digest is wrong builds another with growing delays, and serves on", async () => {
    const { replica, api, admin } = await settled();
    const lost = await api.hostname("lost.test");
    await admin.xdel(GLOBAL_STREAM, lost);
    // Whether it was read before it was removed, the digest is what no generation can agree with.
    api.event("hostnames", "never.test", { hostname: "never.test", app_id: APP });
    await api.digest();
    await until(() => replica.status().incidents_count >= 1, WAIT_MS);
    await until(() => replica.status().bootstraps === 1, WAIT_MS);
    expect(names(replica)).toContain("a.test");
    expect(replica.status().digests.differing).toBe(1);
    await api.publishAgain();
    await until(() => replica.status().digests.differing === 0, WAIT_MS);
    expect(names(replica)).toContain("never.test");
  }, 40_000);
});

describe("snapshots", () => {
  test("a new replica begins with one and goes on along the streams", async () => {
    const source = await settled();
    const { api, admin, url } = source;
    const snapshots = snapshotOf(source.file);
    await api.hostname("later.test");
    await admin.xtrim(GLOBAL_STREAM, "MAXLEN", 2);
    const { replica, takeOvers } = cleanups.follow({
      file: join(cleanups.folder(), "new.sqlite"),
      url,
      snapshots,
    });
    await until(() => replica.has("hostnames", "later.test"), WAIT_MS);
    expect(names(replica)).toEqual([...ALL, "later.test"].sort());
    expect(replica.status()).toMatchObject({ gaps: 0, last_bootstrap: { why: "new", from: "fake" } });
    expect(takeOvers).toBeLessThanOrEqual(1);
  }, 40_000);

  test("one that is damaged, or that the streams do not reach, is not begun with", async () => {
    const source = await settled();
    const { url, admin } = source;
    const file = join(cleanups.folder(), "new.sqlite");
    const damaged = snapshotOf(
      source.file,
      (database) => database.exec(`UPDATE hostnames SET row = replace(row, 'a.test', 'x.test')`),
    );
    const first = cleanups.follow({ file, url, snapshots: damaged });
    await until(() => names(first.replica).length === 4, WAIT_MS);
    expect(first.replica.status().last_bootstrap).toBeNull();
    const old = snapshotOf(source.file, undefined, { positions: { [GLOBAL_STREAM]: "1-1" } });
    const second = cleanups.follow({ file: join(cleanups.folder(), "new.sqlite"), url, snapshots: old });
    await until(() => names(second.replica).length === 4, WAIT_MS);
    expect(second.replica.status().last_bootstrap).toBeNull();
    expect(await admin.xlen(GLOBAL_STREAM)).toBe(4);
  }, 40_000);

  test("heal a replica whose stream was trimmed, with its owner's next digest", async () => {
    const { api, worker, admin, file, url, stop } = await settled();
    await stop();
    const peerFile = join(cleanups.folder(), "peer.sqlite");
    const peer = cleanups.follow({ file: peerFile, url });
    await api.hostname("b.test", true);
    await api.hostname("d.test");
    await until(() => peer.replica.has("hostnames", "d.test"), WAIT_MS);
    const snapshots = snapshotOf(peerFile);
    await admin.xtrim(GLOBAL_STREAM, "MAXLEN", 1);
    const again = cleanups.follow({ file, url, snapshots });
    await until(() => again.replica.status().healing !== null, WAIT_MS);
    await api.digest();
    await worker.digest();
    await healed(again.replica);
    expect(names(again.replica)).toEqual(["a.test", "c.test", "d.test", "h1"]);
    expect(again.replica.status().last_bootstrap).toMatchObject({ why: "gap", from: "fake", carried: 0 });
  }, 40_000);
});

/** Everything is in the database itself, and not in its log. */
function checkpoint(file: string): void {
  const database = openBunDatabase(file);
  database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").all();
  database.close();
}
function realFile(file: string): string {
  return join(file, "..", readlinkSync(file));
}

/** In a process of its own: to close a database's file here would drop this process' locks on it. */
function flip(file: string, from: string, to: string): void {
  const program = `
    const { readFileSync, openSync, writeSync, closeSync } = require("node:fs");
    const [file, from, to] = process.argv.slice(-3);
    const at = readFileSync(file).indexOf(from);
    if (at < 0) process.exit(2);
    const descriptor = openSync(file, "r+");
    writeSync(descriptor, to, at);
    closeSync(descriptor);`;
  const { exitCode } = Bun.spawnSync([process.execPath, "-e", program, file, from, to]);
  expect(exitCode).toBe(0);
}

/** One snapshot, served by nobody but this process. */
function snapshotOf(
  file: string,
  change?: (database: SqlDatabase) => void,
  more: Partial<SnapshotManifest> = {},
): SnapshotSources {
  const copy = join(cleanups.folder(), "snapshot.sqlite");
  const source = openBunDatabase(file);
  source.prepare("VACUUM INTO ?").run(copy);
  const positions = Object.fromEntries(
    source.prepare("SELECT name, position FROM streams").all().map(({ name, position }) => [
      String(name),
      String(position),
    ]),
  );
  source.close();
  if (change !== undefined) {
    const database = openBunDatabase(copy);
    change(database);
    database.close();
  }
  const manifest: SnapshotManifest = {
    schema: 1,
    ...{ id: "0".repeat(16), created_ms: Date.now(), replica_schema: REPLICA_SCHEMA, positions },
    ...{ rows: 4, file_bytes: 1, bytes: 1, sha256: "0".repeat(64), ...more },
  };
  return {
    list: () => Promise.resolve([{ source: "fake", manifest }]),
    fetch: (_, path) => Promise.resolve(copyFileSync(copy, path)),
  };
}

/** Snapshots of real files: beside a writer, killed, hung, on a full disk; with both SQLite bindings. */
import { afterEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { until } from "../edge.fixture.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../runtime/sqlite-node.ts";
import { forkSnapshotBuilder } from "../workers/child-process.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import {
  cleanedUp,
  cleanUp,
  listeningLog,
  newFolder,
  readReplica,
  ReplicaWriter,
  rowsAt,
  smallDisk,
} from "./snapshot.fixture.ts";
import { buildSnapshot, type SnapshotBuild, TOMBSTONE_AGE_MS_MAX } from "./build.ts";
import { SnapshotFolder, snapshotFolderOf } from "./folder.ts";
import { FIRST_MS_MIN, RETRY_MS_MIN } from "./schedule.ts";
import { type BuilderProcess, SnapshotKeeper } from "./keeper.ts";

afterEach(cleanUp);
const newFile = () => join(newFolder(), "replica #1?.sqlite");
const build = (replicaFile: string, more: Partial<SnapshotBuild> = {}) =>
  buildSnapshot({ replicaFile, openDatabase: openBunDatabase, wallMs: () => 5_000, ...more });
/** The database inside. */
function unpacked(file: string, id: string): string {
  const path = join(newFolder(), "unpacked.sqlite");
  writeFileSync(
    path,
    zstdDecompressSync(readFileSync(new SnapshotFolder(snapshotFolderOf(file)).dataPath(id))),
  );
  return path;
}
function keeperOf(file: string, fork: () => BuilderProcess = forkSnapshotBuilder, buildMsMax?: number) {
  const { log, lines } = listeningLog();
  const folder = new SnapshotFolder(snapshotFolderOf(file));
  const keeper = new SnapshotKeeper({
    ...{ replicaFile: file, folder, intervalMs: 3_600_000, fork, log, random: Math.random },
    ...{ nowMs: () => performance.now(), wallMs: () => Date.now() },
    ...(buildMsMax === undefined ? {} : { buildMsMax }),
  });
  cleanedUp(() => keeper.stop());
  return { keeper, folder, lines };
}
const unfinished = (folder: SnapshotFolder) =>
  existsSync(folder.path) ? readdirSync(folder.path).filter((name) => name.startsWith("build-")) : [];

for (const [binding, open] of [["bun", openBunDatabase], ["node", openNodeDatabase]] as const) {
  describe(`a snapshot with ${binding}:sqlite`, () => {
    test("holds rows and positions, its manifest says what it is, and nothing else is left", async () => {
      const file = newFile();
      const writer = new ReplicaWriter(file, open, 7);
      for (let i = 0; i < 60; i++) writer.batch();
      const manifest = (await build(file, { openDatabase: open }))!;
      const folder = new SnapshotFolder(snapshotFolderOf(file));
      expect(folder.list()).toEqual([manifest]);
      expect(manifest).toMatchObject({
        created_ms: 5_000,
        replica_schema: 7,
        positions: { s: "60-0" },
        rows: 50,
      });
      const packed = readFileSync(folder.dataPath(manifest.id));
      expect(packed.length).toBe(manifest.bytes);
      expect(createHash("sha256").update(packed).digest("hex")).toBe(manifest.sha256);
      expect(statSync(folder.dataPath(manifest.id)).mode & 0o777).toBe(0o600);
      const path = unpacked(file, manifest.id);
      expect(statSync(path).size).toBe(manifest.file_bytes);
      expect(readReplica(path, open)).toEqual(
        { rows: rowsAt("60-0"), position: "60-0", check: "ok", history: 0, schema: 7 },
      );
      expect(readFileSync(path).includes("canary")).toBe(false);
      expect(readdirSync(folder.path).sort()).toEqual([`${manifest.id}.json`, `${manifest.id}.zst`]);
    });

    test("is not built again while no stream has moved", async () => {
      const file = newFile();
      const writer = new ReplicaWriter(file, open);
      writer.batch();
      expect(await build(file, { openDatabase: open })).not.toBeNull();
      expect(await build(file, { openDatabase: open })).toBeNull();
      writer.batch();
      expect((await build(file, { openDatabase: open }))?.positions).toEqual({ s: "2-0" });
      expect(unfinished(new SnapshotFolder(snapshotFolderOf(file)))).toEqual([]);
    });

    test("leaves out tombstones that are old, and keeps those that are not", async () => {
      const file = newFile();
      const { database } = new ReplicaWriter(file, open);
      const nowMs = 10 * TOMBSTONE_AGE_MS_MAX;
      for (const [key, deleted, ageMs] of [["m1", 1, 2], ["m2", 1, 0.5], ["m3", 0, 2]] as const) {
        database.prepare("INSERT INTO machines VALUES (?, 'o', 1, 1, ?, ?, NULL)")
          .run(key, deleted, nowMs - ageMs * TOMBSTONE_AGE_MS_MAX);
      }
      const manifest = (await build(file, { openDatabase: open, wallMs: () => nowMs }))!;
      expect(manifest.rows).toBe(1);
      expect(Object.keys(readReplica(unpacked(file, manifest.id), open).rows)).toEqual(["m2", "m3"]);
      database.exec("UPDATE streams SET position = '1-0'");
      const more = { wallMs: () => nowMs, tombstoneAgeMsMax: 3 * TOMBSTONE_AGE_MS_MAX };
      const kept = (await build(file, { openDatabase: open, ...more }))!;
      expect(Object.keys(readReplica(unpacked(file, kept.id), open).rows)).toEqual(["m1", "m2", "m3"]);
    });

    test("of a replica that nobody has open, as it was left", async () => {
      const file = newFile();
      const writer = new ReplicaWriter(file, open);
      writer.batch();
      writer.close();
      expect((await build(file, { openDatabase: open }))?.positions).toEqual({ s: "1-0" });
    });

    test("can be written to again, in WAL, once it is unpacked", async () => {
      const file = newFile();
      new ReplicaWriter(file, open).batch();
      const manifest = (await build(file, { openDatabase: open }))!;
      const path = unpacked(file, manifest.id);
      const database = open(path);
      database.exec("PRAGMA journal_mode = WAL");
      database.exec("UPDATE streams SET position = '2-0'");
      expect(existsSync(`${path}-wal`)).toBe(true);
      expect(readReplica(path, open).position).toBe("2-0");
      database.close();
    });
  });
}

test(
  "a snapshot built beside a writer that commits 1,000 batches holds exactly the rows of its position",
  async () => {
    const file = newFile();
    const writer = new ReplicaWriter(file);
    writer.fill(20_000, 200);
    const { keeper, folder, lines } = keeperOf(file);
    let done = false;
    const building = (async () => {
      const positions: string[] = [];
      while (!done || positions.length < 3) {
        await keeper.build();
        const { id, positions: { s: position } } = folder.list()[0]!;
        positions.push(position!);
        const found = readReplica(unpacked(file, id));
        expect(found.position).toBe(position!);
        expect(found.rows).toEqual(rowsAt(position!));
        expect(found.check).toBe("ok");
      }
      return positions;
    })();
    // It never meets a lock, or this would fail.
    writer.database.exec("PRAGMA busy_timeout = 0");
    const built = () => lines.filter(({ msg }) => msg === "snapshot built").length;
    while (writer.batches < 1_000 || built() < 3) {
      writer.batch();
      await new Promise((resolve) => setImmediate(resolve));
    }
    done = true;
    const positions = await building;
    // Most of them were taken while the writer was at it.
    expect(new Set(positions).size).toBeGreaterThanOrEqual(3);
    expect(folder.list().length).toBeLessThanOrEqual(2);
  },
  60_000,
);

test("the keeper builds when it is due, tries again later what failed, and says when", async () => {
  const file = newFile();
  const { log } = listeningLog();
  const folder = new SnapshotFolder(snapshotFolderOf(file));
  let nowMs = 0;
  const keeper = new SnapshotKeeper({
    ...{
      replicaFile: file,
      folder,
      intervalMs: 3_600_000,
      fork: forkSnapshotBuilder,
      log,
      lookIntervalMs: 1,
    },
    ...{ nowMs: () => nowMs, wallMs: () => Date.now(), random: () => 0 },
  });
  cleanedUp(() => keeper.stop());
  keeper.start();
  expect(keeper.status()).toMatchObject({ newest: null, next_in_ms: FIRST_MS_MIN, building: false });
  // There is no replica yet.
  nowMs = FIRST_MS_MIN;
  await until(() => keeper.status().failed === 1);
  expect(keeper.status().next_in_ms).toBe(RETRY_MS_MIN);
  const writer = new ReplicaWriter(file);
  for (let i = 0; i < 20; i++) writer.batch();
  nowMs += RETRY_MS_MIN;
  await until(() => keeper.status().built === 1);
  expect(keeper.status()).toMatchObject({ newest: { rows: 20 }, next_in_ms: 3_600_000, last_error: null });
  keeper.changed(1);
  expect(keeper.status().next_in_ms).toBe(3_600_000);
  keeper.changed(1);
  expect(keeper.status().next_in_ms).toBe(600_000);
  // Another life knows of what is there.
  const { keeper: later } = keeperOf(file);
  expect(later.status()).toMatchObject({ newest: { rows: 20 }, built: 0 });
  expect(later.status().next_in_ms).toBeGreaterThan(2_000_000);
});

test("a builder that is killed leaves what was there, and the next one tidies up", async () => {
  const file = newFile();
  const writer = new ReplicaWriter(file);
  writer.batch();
  const before = (await build(file))!;
  writer.fill(100_000, 400);
  writer.batch();
  let killed = true;
  const { keeper, folder, lines } = keeperOf(file, () => {
    const child = forkSnapshotBuilder();
    if (killed) void until(() => unfinished(folder).length > 0).then(() => child.kill("SIGKILL"));
    return child;
  });
  await keeper.build();
  expect(keeper.status()).toMatchObject({ failed: 1, built: 0, building: false });
  expect(keeper.status().last_error).toContain("SIGKILL");
  expect(lines.at(-1)).toMatchObject({ code: "replica.snapshot_build_failed", failures: 1 });
  expect(folder.list()).toEqual([before]);
  killed = false;
  await keeper.build();
  expect(keeper.status()).toMatchObject({ built: 1, last_error: null });
  expect(folder.list()[0]).toMatchObject({ positions: { s: "2-0" }, rows: 100_002 });
  expect(unfinished(folder)).toEqual([]);
}, 60_000);

test("a builder that hangs is ended, and one that is killed by stop() too", async () => {
  const file = newFile();
  new ReplicaWriter(file);
  const hung = new URL("./hung.fixture.ts", import.meta.url).pathname;
  const { keeper } = keeperOf(file, () => forkSnapshotBuilder(hung), 300);
  await keeper.build();
  expect(keeper.status().last_error).toContain("SIGKILL");
  const other = keeperOf(file, () => forkSnapshotBuilder(hung));
  const building = other.keeper.build();
  await other.keeper.stop();
  await building;
  expect(other.keeper.status()).toMatchObject({ failed: 1, building: false });
});

test("a damaged replica makes no snapshot, and says so", async () => {
  const file = newFile();
  writeFileSync(file, "no database, and long enough to be read as one".repeat(100));
  const { keeper, folder } = keeperOf(file);
  await keeper.build();
  expect(keeper.status().last_error).toContain("file is not a database");
  expect([...folder.list(), ...unfinished(folder)]).toEqual([]);
});

test("buildSnapshot() begins nothing where there is not twice the room", async () => {
  const file = newFile();
  const writer = new ReplicaWriter(file);
  writer.fill(1_000, 1_000);
  await expect(build(file, { freeBytes: () => 2_000_000 })).rejects.toMatchObject({
    code: "replica.snapshot_no_room",
  });
  expect(await build(file, { freeBytes: () => 20_000_000 })).not.toBeNull();
});

test("a disk that fills while a snapshot is built keeps the one before and nothing half", async () => {
  const disk = smallDisk(48 * 1_048_576);
  if (disk === null) return console.log("skipped: no tmpfs can be mounted here");
  const file = join(disk, "replica.sqlite");
  const writer = new ReplicaWriter(file);
  writer.fill(1_000, 1_000);
  writer.batch();
  const before = (await build(file))!;
  const folder = new SnapshotFolder(snapshotFolderOf(file));
  const failsFull = async (said: RegExp) => {
    await expect(build(file, { freeBytes: () => Infinity })).rejects.toMatchObject({
      code: "replica.snapshot_no_room",
      message: expect.stringMatching(said),
    });
    expect(folder.list()).toEqual([before]);
    expect(unfinished(folder)).toEqual([]);
  };
  writer.batch();
  const { file_bytes, bytes } = before;
  // Room for a part of the copy, then for the copy and a part of what is packed of it.
  for (
    const [leftBytes, said] of [[file_bytes / 2, /disk is full/], [file_bytes + bytes / 2, /ENOSPC/]] as const
  ) {
    const freeBytes = new FolderFiles(file, openBunDatabase).freeBytes();
    writeFileSync(join(disk, "ballast"), new Uint8Array(freeBytes - Math.round(leftBytes)));
    await failsFull(said);
    writeFileSync(join(disk, "ballast"), "");
  }
  expect((await build(file))?.positions).toEqual({ s: "2-0" });
});

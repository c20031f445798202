import { afterEach, expect, test } from "bun:test";
import { existsSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { anySnapshot, cleanUp, folderWith, newFolder } from "./snapshot.fixture.ts";
import { SnapshotFolder } from "./folder.ts";

afterEach(cleanUp);
const three = () => [1, 2, 3].map((created_ms) => anySnapshot(1_000, { created_ms }));
const idsOf = (folder: SnapshotFolder) => folder.list().map(({ id }) => id);

test("a folder lists what is whole, the newest first", () => {
  const snapshots = three();
  const folder = folderWith(...snapshots);
  expect(folder.list()).toEqual(snapshots.map(({ manifest }) => manifest).reverse());
  expect(folder.oldestInUse()).toEqual(snapshots[0]!.manifest);
  const [first, second, third] = snapshots.map(({ manifest }) => manifest.id) as [string, string, string];
  truncateSync(folder.dataPath(first), 10);
  writeFileSync(join(folder.path, `${second}.json`), "{");
  expect(idsOf(folder)).toEqual([third]);
});

test("a folder that is not there has none, and asks nothing of a name that is no id", () => {
  const folder = new SnapshotFolder(join(newFolder(), "missing"));
  expect(folder.list()).toEqual([]);
  expect(folder.oldestInUse()).toBeNull();
  for (const id of ["", "..", "../../etc/passwd", "A".repeat(32), `${"a".repeat(32)}/x`]) {
    expect(folder.find(id)).toBeNull();
  }
});

test("tidy() keeps the newest and those that are held; damaged and unfinished ones go, downloads stay", () => {
  const snapshots = three();
  const folder = folderWith(...snapshots);
  const [first, second, third] = snapshots.map(({ manifest }) => manifest.id) as [string, string, string];
  for (const name of ["build-7.sqlite", "build-7.zst", "build-7.zst.json", `${"b".repeat(32)}.zst`]) {
    writeFileSync(join(folder.path, name), "unfinished");
  }
  writeFileSync(join(folder.path, "part-abc.zst"), "to be resumed");
  const releases = [folder.hold(first), folder.hold(first)];
  folder.tidy();
  expect(idsOf(folder)).toEqual([third, second, first]);
  releases[0]!();
  releases[0]!();
  folder.tidy(1);
  expect(idsOf(folder)).toEqual([third, first]);
  releases[1]!();
  folder.tidy(1);
  expect(idsOf(folder)).toEqual([third]);
  expect(readdirSync(folder.path).sort()).toEqual([`${third}.json`, `${third}.zst`, "part-abc.zst"].sort());
  truncateSync(folder.dataPath(third), 1);
  folder.tidy();
  expect(existsSync(folder.dataPath(third))).toBe(false);
});

/** Generations on a real disk, with both SQLite bindings, and with a crash before each call on files. */
import { afterEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../runtime/sqlite-node.ts";
import type { OpenDatabase, SqlDatabase } from "../runtime/sqlite-port.ts";
import { type FileSystem, nodeFiles } from "./file-system.ts";
import { FolderFiles } from "./replica-files.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), "godwit-files-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "replica.sqlite");
}
function opened(database: SqlDatabase): SqlDatabase {
  cleanups.push(() => database.close());
  return database;
}
/** A database whose content says which one it is; its last row is in the write-ahead log alone. */
function fill(database: SqlDatabase, name: string): SqlDatabase {
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("CREATE TABLE note (text TEXT)");
  database.prepare("INSERT INTO note VALUES (?)").run(name);
  return database;
}
function nameOf(database: SqlDatabase | null): string | null {
  if (database === null) return null;
  const [row] = database.prepare("SELECT group_concat(text) AS text FROM note").all();
  return String(row?.text);
}
const names = (file: string) => readdirSync(join(file, "..")).sort();

for (const [binding, open] of [["bun", openBunDatabase], ["node", openNodeDatabase]] as const) {
  describe(`replica files on ${binding}:sqlite`, () => {
    test("a folder without one has no present generation, and the first is FILE.1", () => {
      const file = newFile();
      const files = new FolderFiles(file, open);
      expect(files.openCurrent()).toBeNull();
      fill(opened(files.createNext()), "one");
      expect(files.takeOver()).toBeNull();
      expect(readlinkSync(file)).toBe("replica.sqlite.1");
      expect(nameOf(opened(files.openCurrent()!))).toBe("one");
    });

    test("the next takes over while both are open, by whoever opens the link", () => {
      const file = newFile();
      const files = new FolderFiles(file, open);
      const first = opened(fill(files.createNext(), "one"));
      files.takeOver();
      const reader = opened(open(file));
      expect(nameOf(reader)).toBe("one");
      const second = opened(fill(files.createNext(), "two"));
      expect(nameOf(opened(open(file)))).toBe("one");
      expect(files.takeOver()).toBe(`${file}.1`);
      expect(nameOf(opened(open(file)))).toBe("two");
      files.prune();
      // Those who have the earlier one open read on, and do not disturb the new one when they close.
      expect([nameOf(first), nameOf(reader)]).toEqual(["one", "one"]);
      second.prepare("INSERT INTO note VALUES (?)").run("more");
      expect(nameOf(opened(files.openCurrent()!))).toBe("two,more");
      expect(names(file).filter((name) => name.startsWith("replica.sqlite.1"))).toEqual([]);
    });

    test("what somebody else puts at nextPath is opened there and takes over", () => {
      const file = newFile();
      const files = new FolderFiles(file, open);
      fill(opened(files.createNext()), "one");
      files.takeOver();
      fill(open(files.nextPath), "fetched").close();
      expect(nameOf(opened(files.openNext()))).toBe("fetched");
      expect(files.takeOver()).toBe(`${file}.1`);
      expect(nameOf(opened(files.openCurrent()!))).toBe("fetched");
    });

    test("openNext() and takeOver() refuse what is not there, and openCurrent() what is no database", () => {
      const file = newFile();
      const files = new FolderFiles(file, open);
      expect(() => files.openNext()).toThrow("is not there");
      expect(() => files.takeOver()).toThrow("is not there");
      writeFileSync(file, "no database, and long enough to be read as one".repeat(100));
      expect(() => files.openCurrent()).toThrow("file is not a database");
      fill(opened(files.createNext()), "anew");
      files.setAside(files.takeOver()!);
      files.prune();
      expect(nameOf(opened(files.openCurrent()!))).toBe("anew");
      expect(readlinkSync(`${file}.aside`)).toBe("replica.sqlite.1");
      expect(existsSync(`${file}.aside`)).toBe(true);
    });

    test("a database at FILE from before is taken as generation 1, its log and open readers with it", () => {
      const file = newFile();
      const reader = opened(fill(open(file), "old"));
      const files = new FolderFiles(file, open);
      const present = opened(files.openCurrent()!);
      expect(readlinkSync(file)).toBe("replica.sqlite.1");
      present.prepare("INSERT INTO note VALUES (?)").run("new");
      expect(nameOf(reader)).toBe("old,new");
      files.prune();
      expect(names(file)).toEqual(
        ["", ".1", ".1-shm", ".1-wal"].map((suffix) => `replica.sqlite${suffix}`),
      );
      expect(nameOf(opened(open(file)))).toBe("old,new");
    });
  });
}

test("an unfinished next generation is removed before another is made, its log too", () => {
  const file = newFile();
  const files = new FolderFiles(file, openBunDatabase);
  const unfinished = fill(files.createNext(), "unfinished");
  const next = fill(opened(files.createNext()), "whole");
  // The last to close it, and by its name the other's log could be taken for its own.
  unfinished.close();
  files.takeOver();
  expect(nameOf(next)).toBe("whole");
  expect(nameOf(opened(files.openCurrent()!))).toBe("whole");
});

test("one damaged generation is kept aside, the newest", () => {
  const file = newFile();
  const files = new FolderFiles(file, openBunDatabase);
  for (const name of ["one", "two", "three", "four"]) {
    fill(files.createNext(), name).close();
    const earlier = files.takeOver();
    if (earlier !== null && name !== "four") files.setAside(earlier);
    files.prune();
  }
  expect(names(file)).toEqual(["", ".2", ".4", ".aside"].map((suffix) => `replica.sqlite${suffix}`));
  expect(readlinkSync(`${file}.aside`)).toBe("replica.sqlite.2");
  // The number after both, so that nothing that is kept is built over.
  expect(files.nextPath).toBe(`${file}.5`);
});

test("a link to nothing counts as no generation", () => {
  const file = newFile();
  const files = new FolderFiles(file, openBunDatabase);
  fill(files.createNext(), "one").close();
  files.takeOver();
  rmSync(`${file}.1`);
  expect(files.openCurrent()).toBeNull();
  fill(files.createNext(), "anew").close();
  expect(files.takeOver()).toBeNull();
  expect(nameOf(opened(files.openCurrent()!))).toBe("anew");
});

test("prune() removes nothing while a link may be undone by a power cut", () => {
  const file = newFile();
  let synced = 0;
  const failing: FileSystem = {
    ...nodeFiles,
    syncFolder(folder) {
      // The one before the link is renamed goes well.
      if (++synced > 1) throw new Error("EIO");
      nodeFiles.syncFolder(folder);
    },
  };
  const before = new FolderFiles(file, openBunDatabase);
  fill(before.createNext(), "one").close();
  before.takeOver();
  const files = new FolderFiles(file, openBunDatabase, failing);
  fill(files.createNext(), "two").close();
  expect(files.takeOver()).toBe(`${file}.1`);
  expect(() => files.prune()).toThrow("EIO");
  expect(existsSync(`${file}.1`)).toBe(true);
  expect(files.freeBytes()).toBeGreaterThan(0);
});

/** Fails each call from the `crashAt`th on, as after a crash nothing more is done. */
function crashing(crashAt: number): { files: FileSystem; calls: () => number } {
  let calls = 0;
  const files = Object.fromEntries(
    Object.entries(nodeFiles).map(([name, call]) => [name, (...values: never[]) => {
      if (++calls >= crashAt) throw new Error("crash");
      return (call as (...values: never[]) => unknown)(...values);
    }]),
  ) as unknown as FileSystem;
  return { files, calls: () => calls };
}

interface Life {
  readonly title: string;
  /** Before the life that crashes. */
  readonly prepare: (file: string, open: OpenDatabase) => void;
  readonly live: (files: FolderFiles) => void;
  /** What may be found afterwards. */
  readonly before: string;
  readonly after: string;
}

const take = (files: FolderFiles, name: string) => {
  fill(files.createNext(), name).close();
  return files.takeOver();
};
const lives: Life[] = [
  {
    title: "a take-over that sets the earlier one aside and prunes",
    prepare: (file, open) => {
      const files = new FolderFiles(file, open);
      take(files, "zero");
      files.setAside(take(files, "one")!);
      files.prune();
    },
    live: (files) => {
      files.openCurrent()!.close();
      files.setAside(take(files, "two")!);
      files.prune();
    },
    before: "one",
    after: "two",
  },
  {
    title: "an earlier version's database, taken as generation 1",
    prepare: (file, open) => opened(fill(open(file), "old")),
    live: (files) => {
      files.openCurrent()!.close();
      files.prune();
    },
    before: "old",
    after: "old",
  },
  {
    title: "an earlier version's database, replaced at once",
    prepare: (file, open) => opened(fill(open(file), "old")),
    live: (files) => {
      take(files, "new");
      files.prune();
    },
    before: "old",
    after: "new",
  },
];

for (const { title, prepare, live, before, after } of lives) {
  test(`a crash before any call leaves something that opens: ${title}`, () => {
    let crashes = 0;
    const found = new Set<string | null>();
    for (let crashAt = 1;; crashAt++) {
      const file = newFile();
      prepare(file, openBunDatabase);
      const { files, calls } = crashing(crashAt);
      try {
        live(new FolderFiles(file, openBunDatabase, files));
      } catch (error) {
        expect(String(error)).toContain("crash");
        crashes++;
      }
      // Whoever reads through the link, before anything is mended.
      found.add(nameOf(opened(openBunDatabase(file))));
      // And the next life: it opens, takes over, and leaves nothing behind.
      const next = new FolderFiles(file, openBunDatabase);
      const present = next.openCurrent()!;
      expect([before, after]).toContain(nameOf(present)!);
      present.close();
      take(next, "later");
      next.prune();
      expect(nameOf(opened(next.openCurrent()!))).toBe("later");
      const kept = names(file).filter((name) => lstatSync(join(file, "..", name)).isFile())
        .map((name) => name.replace(/-(wal|shm)$/, ""));
      expect(new Set(kept).size).toBeLessThanOrEqual(2);
      if (calls() < crashAt) break;
    }
    expect(crashes).toBeGreaterThan(10);
    expect([...found].sort()).toEqual([...new Set([before, after])].sort());
  });
}

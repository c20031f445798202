import { afterAll, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { aMachineSpec, aStore } from "./store.fixture.ts";
import { insertMachine, moveMachine, patchMachine } from "./machines.ts";
import { pending } from "./outbox.ts";
import { Store } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const options = (name: string) => ({
  file: join(folder, name),
  host_id: "h1",
  region: "dev",
  vmm: "runc" as const,
  now: () => 1_000,
});

describe("Store", () => {
  test("keeps its epoch over a restart, and its sequence goes on", () => {
    const first = new Store({ ...options("epoch"), now: () => 77 });
    const seq = first.write(() => first.nextSeq());
    first.close();
    const second = new Store({ ...options("epoch"), now: () => 99 });
    expect(second.epoch).toBe(77);
    expect(second.write(() => second.nextSeq())).toBe(seq + 1);
    second.close();
  });

  test("lets no second agent in, and lets one in when the first is gone", () => {
    const first = new Store(options("lock"));
    expect(() => new Store(options("lock"))).toThrow("another agent has it");
    first.close();
    new Store(options("lock")).close();
  });

  test("refuses a database of a newer program in words", () => {
    new Store(options("newer")).close();
    const db = new Database(join(folder, "newer"));
    db.run("PRAGMA user_version = 999");
    db.close();
    expect(() => new Store(options("newer"))).toThrow("its schema is 999");
  });

  test("writes with full durability", () => {
    const store = new Store(options("full"));
    expect(store.db.query<{ synchronous: number }, []>("PRAGMA synchronous").get()?.synchronous).toBe(2);
    expect(store.db.query<{ journal_mode: string }, []>("PRAGMA journal_mode").get()?.journal_mode).toBe(
      "wal",
    );
    store.close();
  });

  test("is nobody else's to read", () => {
    const store = new Store(options("mode"));
    for (const name of ["mode", "mode-wal"]) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    store.close();
  });

  test("tells its listeners after the commit, once, and nothing of what was rolled back", () => {
    const store = aStore();
    const told: string[][] = [];
    store.onChange((ids) => told.push([...ids]));
    store.write(() => {
      store.touch("a");
      store.write(() => store.touch("b"));
      expect(told).toEqual([]);
    });
    expect(() =>
      store.write(() => {
        store.touch("c");
        throw new Error("no");
      })
    ).toThrow("no");
    expect(told).toEqual([["a", "b"]]);
  });

  test("numbers every published change of the host, so that a version is never used twice", () => {
    const store = aStore();
    const [a, b] = [aMachineSpec(), aMachineSpec()];
    const seqs: number[] = [];
    const note = () => seqs.push(pending(store, 10).at(-1)!.seq);
    store.write(() => [a, b].forEach((spec) => insertMachine(store, spec)));
    for (const { id } of [a, b, a]) {
      store.write(() => patchMachine(store, id, { made: true, cordoned: seqs.length > 1 }));
      note();
    }
    store.write(() => moveMachine(store, b.id, "start"));
    note();
    expect(seqs).toEqual([...new Set(seqs)].sort((x, y) => x - y));
  });
});

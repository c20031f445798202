/** A pass over the file while its writer goes on, on both SQLite bindings. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { regionStream } from "../../control/contract/events.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../runtime/sqlite-node.ts";
import { Cleanups, TestPublisher } from "./replica.fixture.ts";
import { type ReplicaStore, storeIn, type ValidEvent } from "./replica-store.ts";
import { scrub } from "./scrub.ts";

const cleanups = new Cleanups();
afterEach(() => cleanups.run());

const ROWS = 2_000;
const machine = (publisher: TestPublisher, number: number, deleted = false): ValidEvent => {
  const key = `h1/${number.toString(16).padStart(14, "0")}`;
  return { table: "machines", event: publisher.event("machines", key, deleted ? null : { number }) };
};

for (const [name, open] of [["bun", openBunDatabase], ["node", openNodeDatabase]] as const) {
  describe(`scrub() on ${name}:sqlite`, () => {
    function filled() {
      const file = join(cleanups.folder(), "r.sqlite");
      const store = storeIn(open(file));
      cleanups.add(() => store.close());
      const worker = new TestPublisher(null, "worker:h1");
      apply(store, Array.from({ length: ROWS }, (_, i) => machine(worker, i)));
      return { file, store, worker };
    }
    function apply(store: ReplicaStore, events: ValidEvent[]): void {
      store.apply(regionStream("ams"), "1-0", events, [], Date.now());
    }
    const pass = (store: ReplicaStore, file: string, between: () => void = () => {}, signal?: AbortSignal) =>
      scrub({
        ...{ store, open: () => open(file), positions: null, share: 1 },
        ...{ nowMs: () => performance.now(), wallMs: () => Date.now() },
        pause: () => {
          between();
          return Promise.resolve();
        },
        signal: signal ?? new AbortController().signal,
        mayForget: (owner, publishedMs) => owner === "worker:h1" && publishedMs === 1,
      });

    test("finds nothing where rows come, change and go while it reads", async () => {
      const { store, file, worker } = filled();
      let slices = 0;
      const result = await pass(store, file, () => {
        slices++;
        apply(store, [
          machine(worker, 1),
          machine(worker, ROWS - slices),
          machine(worker, 5 + slices, true),
          machine(worker, ROWS + slices),
        ]);
      });
      expect(slices).toBeGreaterThan(2);
      expect(result).toMatchObject({ findings: [], differences: [] });
      expect(await pass(store, file)).toMatchObject({ findings: [] });
    });

    test("finds a changed column, a row that is gone, one that is new, and sums that are changed", async () => {
      const { store, file } = filled();
      const stranger = open(file);
      const key = "h1/00000000000007";
      stranger.exec(`UPDATE machines SET seq = seq + 1 WHERE key = '${key}'`);
      const changed = await pass(store, file);
      expect(changed!.findings[0]).toBe(`machines "${key}" is damaged`);
      expect(changed!.differences.length).toBe(1);
      stranger.exec(`UPDATE machines SET seq = seq - 1 WHERE key = '${key}'`);
      expect(await pass(store, file)).toMatchObject({ findings: [] });
      stranger.exec(`CREATE TEMP TABLE kept AS SELECT * FROM machines WHERE key = '${key}'`);
      stranger.exec(`DELETE FROM machines WHERE key = '${key}'`);
      expect((await pass(store, file))!.findings).toEqual([
        `machines of worker:h1: ${ROWS - 1} rows where ${ROWS} were written`,
      ]);
      stranger.exec("INSERT INTO machines SELECT * FROM kept");
      expect(await pass(store, file)).toMatchObject({ findings: [] });
      stranger.exec("UPDATE sums SET rows = rows + 1");
      expect((await pass(store, file))!.findings.length).toBe(1);
      stranger.close();
    });

    test("collects tombstones that nobody needs, and no others", async () => {
      const { store, file, worker } = filled();
      const [old, young] = [machine(worker, 3, true), machine(worker, 4, true)];
      apply(store, [{ ...old, event: { ...old.event, published_ms: 1 } }, young]);
      expect(store.counts().machines).toEqual({ rows: ROWS - 2, tombstones: 2 });
      expect(await pass(store, file)).toMatchObject({ forgotten: 1, findings: [] });
      expect(store.counts().machines).toEqual({ rows: ROWS - 2, tombstones: 1 });
      expect(await pass(store, file)).toMatchObject({ forgotten: 0, findings: [] });
    });

    test("ends where it is told to, and says so where the file is gone", async () => {
      const { store, file } = filled();
      const ending = new AbortController();
      expect(await pass(store, file, () => ending.abort(), ending.signal)).toBeNull();
      const options = { nowMs: () => 0, wallMs: () => 0, pause: () => Promise.resolve(), positions: null };
      const signal = new AbortController().signal;
      const gone = await scrub({ ...options, store, signal, open: () => null });
      expect(gone!.findings).toEqual(["the file is not there"]);
    });
  });
}

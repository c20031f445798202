/** What a store does with a lost history, and with regions that are not followed. */
import { expect, test } from "bun:test";
import { GLOBAL_STREAM, regionStream, type StateDigest } from "../../control/contract/events.ts";
import type { TableName } from "../../control/contract/rows.ts";
import { EMPTY_SUM, rowSum } from "../../control/contract/row-sum.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { type ReplicaStore, type Step, storeIn } from "./replica-store.ts";

function take(store: ReplicaStore, stream: string, ...steps: Step[]) {
  return store.take({ stream, position: "1-0", furthest: "1-0", steps, refused: [], unbelieved: [] }, 1);
}
function row(
  owner: string,
  table: TableName,
  key: string,
  epoch: number,
  value: Record<string, unknown>,
): Step {
  const version = { epoch, seq: 1 };
  const event = { owner, table, key, version, deleted: false, row: value, published_ms: 1 };
  return { valid: { table, event: { schema: 1, ...event } } };
}
function digest(rows: number, sum: string, floor_epoch: number): Step {
  const digest: StateDigest = {
    schema: 1,
    ...{ owner: "api", tables: { hostnames: { rows, sum } }, newest: { epoch: 2, seq: 1 }, floor_epoch },
    published_ms: 1,
  };
  return { digest, entryId: "1-0" };
}
const keys = (store: ReplicaStore, table: TableName) => store.rows(table).map(({ key }) => key);
const b2 = rowSum("hostnames", "b.test", { epoch: 2, seq: 1 });

test("rows below a digest's floor go where the digest then agrees", () => {
  const store = storeIn(openBunDatabase(":memory:"));
  take(
    store,
    GLOBAL_STREAM,
    row("api", "hostnames", "a.test", 1, {}),
    row("api", "hostnames", "b.test", 2, {}),
  );
  const { compared, changed } = take(store, GLOBAL_STREAM, digest(1, b2, 2));
  expect(compared[0]!.differences).toEqual([]);
  expect(changed.map(({ event }) => [event.key, event.deleted])).toEqual([["a.test", true]]);
  expect(keys(store, "hostnames")).toEqual(["b.test"]);
  // Nothing of that history comes back.
  expect(take(store, GLOBAL_STREAM, row("api", "hostnames", "c.test", 1, {})).old).toBe(1);
  store.close();
});

test("rows below a digest's floor stay where more is missing: their owner may have published them again", () => {
  const store = storeIn(openBunDatabase(":memory:"));
  take(store, GLOBAL_STREAM, row("api", "hostnames", "a.test", 1, {}));
  const { compared, changed } = take(store, GLOBAL_STREAM, digest(1, b2, 2));
  expect(changed).toEqual([]);
  expect(compared[0]!.differences).toMatchObject([{ expected: { rows: 1 }, found: { rows: 1 } }]);
  expect(keys(store, "hostnames")).toEqual(["a.test"]);
  take(store, GLOBAL_STREAM, row("api", "hostnames", "b.test", 2, {}));
  expect(take(store, GLOBAL_STREAM, digest(1, b2, 2)).compared[0]!.differences).toEqual([]);
  expect(keys(store, "hostnames")).toEqual(["b.test"]);
  store.close();
});

test("keepRegions() forgets what another replica followed, its sums and positions too", () => {
  const store = storeIn(openBunDatabase(":memory:"));
  take(store, GLOBAL_STREAM, row("api", "hostnames", "a.test", 1, {}));
  for (const region of ["ams", "fra"]) {
    take(store, regionStream(region), row(`worker:${region}`, "hosts", region, 1, { region }));
  }
  store.keepRegions([], 1);
  expect(keys(store, "hosts")).toEqual(["ams", "fra"]);
  expect(store.followedMoreThan(["ams"])).toBe(true);
  store.keepRegions(["ams"], 1);
  expect(store.followedMoreThan(["ams"])).toBe(false);
  expect(keys(store, "hosts")).toEqual(["ams"]);
  expect(keys(store, "hostnames")).toEqual(["a.test"]);
  expect([...store.positions().keys()]).toEqual([GLOBAL_STREAM, regionStream("ams")]);
  expect(store.sums.of("worker:fra").get("hosts")).toEqual({ rows: 0, sum: EMPTY_SUM });
  store.close();
});

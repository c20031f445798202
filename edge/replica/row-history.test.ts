import { expect, test } from "bun:test";
import { GLOBAL_STREAM, type StateEvent } from "../../control/contract/events.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import type { HistoryLimits } from "./row-history.ts";
import { storeIn } from "./replica-store.ts";

function storeWith(history?: HistoryLimits) {
  const store = storeIn(openBunDatabase(":memory:"), history);
  let seq = 0;
  const put = (key: string, atMs: number, deleted = false) => {
    const event: StateEvent = {
      schema: 1,
      ...{ owner: "api", table: "hostnames", key, version: { epoch: 1, seq: ++seq }, deleted },
      ...{ row: deleted ? null : { at: atMs }, published_ms: atMs },
    };
    store.apply(GLOBAL_STREAM, `${atMs}-0`, [{ table: "hostnames", event }], [], atMs);
  };
  const at = (key: string, atMs: number) => store.rowAt("hostnames", key, atMs)?.row;
  return { store, put, at };
}

test("rowAt() tells a row as it was, deleted or not there yet", () => {
  const { put, at } = storeWith({ rowsMax: 10, keptMs: 1_000_000 });
  put("a.test", 100);
  put("a.test", 200);
  put("a.test", 300, true);
  expect([at("a.test", 99), at("a.test", 100), at("a.test", 250), at("a.test", 300)]).toEqual(
    [undefined, { at: 100 }, { at: 200 }, null],
  );
});

test("history is bounded by rows and by time, and what has not changed since is known without it", () => {
  const few = storeWith({ rowsMax: 2, keptMs: 1_000_000 });
  few.put("still.test", 50);
  for (const atMs of [100, 200, 300]) few.put("a.test", atMs);
  expect([few.at("a.test", 100), few.at("a.test", 200), few.at("still.test", 60)]).toEqual(
    [undefined, { at: 200 }, { at: 50 }],
  );
  const short = storeWith({ rowsMax: 100, keptMs: 150 });
  for (const atMs of [100, 200, 300]) short.put("a.test", atMs);
  expect([short.at("a.test", 100), short.at("a.test", 200)]).toEqual([undefined, { at: 200 }]);
  const none = storeWith();
  none.put("a.test", 100);
  none.put("a.test", 200);
  expect([none.at("a.test", 100), none.at("a.test", 200)]).toEqual([undefined, { at: 200 }]);
});

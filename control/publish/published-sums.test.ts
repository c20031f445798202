import { expect, test } from "bun:test";
import { EMPTY_SUM, rowSum } from "../contract/row-sum.ts";
import { applyChanges, withEmptyTables } from "./published-sums.ts";

const change = (key: string, seq: number, deleted = false) => ({
  table: "apps",
  key,
  version: { epoch: 1, seq },
  deleted,
});

test("applyChanges() counts live rows, replaces a row's sum by its newer one's and takes out deleted ones", () => {
  const first = applyChanges({}, [], [change("a", 1), change("b", 2)]);
  expect(first.sums.apps!.rows).toBe(2);
  const second = applyChanges(first.sums, [change("a", 1), change("b", 2)], [
    change("a", 3),
    change("b", 4, true),
  ]);
  expect(second.sums).toEqual({ apps: { rows: 1, sum: rowSum("apps", "a", { epoch: 1, seq: 3 }) } });
  expect(second.kept.map((kept) => kept.version.seq)).toEqual([3, 4]);
});

test("applyChanges() keeps of a key the newest, in whatever order they come, and nothing older than what is known", () => {
  const { sums, kept } = applyChanges({}, [change("b", 9, true)], [
    change("a", 5),
    change("a", 3),
    change("b", 8),
  ]);
  expect(kept).toEqual([change("a", 5)]);
  expect(sums.apps).toEqual({ rows: 1, sum: rowSum("apps", "a", { epoch: 1, seq: 5 }) });
});

test("applyChanges() ends with an empty sum when every row is gone", () => {
  const { sums } = applyChanges({}, [], [change("a", 1)]);
  expect(applyChanges(sums, [change("a", 1)], [change("a", 2, true)]).sums).toEqual({
    apps: { rows: 0, sum: EMPTY_SUM },
  });
  expect(withEmptyTables(sums, ["apps", "hostnames"]).hostnames).toEqual({ rows: 0, sum: EMPTY_SUM });
});

import { describe, expect, test } from "bun:test";
import { EMPTY_SUM, rowSum } from "../../control/contract/row-sum.ts";
import { compareDigest, mayDigest } from "./compare-digest.ts";

const sum = rowSum("hostnames", "a.test", { epoch: 1, seq: 1 });
const one = { rows: 1, sum };

describe("compareDigest()", () => {
  test("finds nothing where both say the same, nor in tables that are not known here", () => {
    const tables = { hostnames: one, volumes: { rows: 7, sum } };
    expect(compareDigest({ owner: "api", tables }, new Map([["hostnames", one]]))).toEqual([]);
    expect(compareDigest({ owner: "api", tables: { apps: { rows: 0, sum: EMPTY_SUM } } }, new Map())).toEqual(
      [],
    );
  });
  test("finds a row that is missing, one too many, and one of another version", () => {
    const none = { rows: 0, sum: EMPTY_SUM };
    expect(compareDigest({ owner: "api", tables: { hostnames: one } }, new Map())).toEqual([
      { owner: "api", table: "hostnames", expected: one, found: none },
    ]);
    expect(compareDigest({ owner: "api", tables: {} }, new Map([["hostnames", one]]))).toEqual([
      { owner: "api", table: "hostnames", expected: none, found: one },
    ]);
    const other = { rows: 1, sum: rowSum("hostnames", "a.test", { epoch: 1, seq: 2 }) };
    expect(
      compareDigest({ owner: "api", tables: { hostnames: one } }, new Map([["hostnames", other]])).length,
    )
      .toBe(1);
  });
});

test("mayDigest() lets owners speak on the streams of their tables alone", () => {
  expect(mayDigest("api", "global")).toBe(true);
  expect(mayDigest("api", "ams")).toBe(false);
  expect(mayDigest("worker:h1", "ams")).toBe(true);
  expect(mayDigest("worker:h1", "global")).toBe(false);
  expect(mayDigest("constructor", "ams")).toBe(false);
});

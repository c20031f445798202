import { expect, test } from "bun:test";
import fc from "fast-check";
import type { TableName } from "../../control/contract/rows.ts";
import { PendingChanges } from "./pending-changes.ts";

const names = fc.constantFrom<TableName>("hostnames", "machines", "apps");

test("PendingChanges names each key once, and nothing twice", () => {
  const pending = new PendingChanges();
  for (const key of ["a", "b", "a"]) pending.add("hostnames", key);
  pending.add("machines", "m");
  expect(pending.size).toBe(3);
  expect(pending.take()).toEqual({
    keys: [["hostnames", ["a", "b"]], ["machines", ["m"]]],
    all: false,
    takenOver: false,
  });
  expect(pending.take()).toBe(null);
  expect(pending.empty).toBe(true);
});

test("PendingChanges past its bound forgets the keys and says that all may have changed", () => {
  const pending = new PendingChanges(2);
  for (const key of ["a", "b", "c", "d"]) pending.add("hostnames", key);
  expect(pending.size).toBe(0);
  expect(pending.overflows).toBe(1);
  expect(pending.take()).toEqual({ keys: [], all: true, takenOver: false });
  pending.add("hostnames", "e");
  expect(pending.take()?.keys).toEqual([["hostnames", ["e"]]]);
});

test("PendingChanges handed on in any pieces says in the end all that was added", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(names, fc.string({ maxLength: 2 }), fc.integer({ min: 0, max: 4 }))),
      fc.integer({ min: 1, max: 20 }),
      (steps, keysMax) => {
        const [first, second] = [new PendingChanges(keysMax), new PendingChanges(keysMax)];
        const seen = new Set<string>();
        const read = (keys: readonly (readonly [TableName, readonly string[]])[]) => {
          for (const [table, some] of keys) for (const key of some) seen.add(`${table} ${key}`);
        };
        let all = false;
        for (const [table, key, then] of steps) {
          first.add(table, key);
          if (then === 1) second.merge(first.take() ?? { keys: [], all: false, takenOver: false });
          if (then === 2) read(second.takeKeys(2));
        }
        second.merge(first.take() ?? { keys: [], all: false, takenOver: false });
        const rest = second.take();
        if (rest !== null) read(rest.keys);
        all = rest?.all ?? false;
        const added = new Set(steps.map(([table, key]) => `${table} ${key}`));
        for (const name of seen) expect(added.has(name)).toBe(true);
        if (!all) expect(seen).toEqual(added);
      },
    ),
  );
});

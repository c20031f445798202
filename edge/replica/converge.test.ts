/** However entries of several publishers are repeated, mixed and cut into reads, the same state comes of it. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { regionStream, type StateEvent } from "../../control/contract/events.ts";
import { TABLE_NAMES, type TableName } from "../../control/contract/rows.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { openNodeDatabase } from "../runtime/sqlite-node.ts";
import type { OpenDatabase } from "../runtime/sqlite-port.ts";
import { type ReplicaStore, storeIn, type ValidEvent } from "./replica-store.ts";

const OWNERS = ["api", "worker:h1", "worker:h2"] as const;

interface Change {
  readonly key: number;
  readonly deleted: boolean;
  /** Whether the owner was restored from a backup just before. */
  readonly restored: boolean;
}

function logOf(owner: string, changes: readonly Change[]): ValidEvent[] {
  let epoch = 1, seq = 0;
  return changes.map(({ key: number, deleted, restored }) => {
    if (restored) [epoch, seq] = [epoch + 1, 0];
    seq++;
    const host = owner.slice("worker:".length);
    const table: TableName = owner === "api" ? "hostnames" : "machines";
    const key = owner === "api" ? `n${number}.test` : `${host}/${number}`;
    const event: StateEvent = {
      schema: 1,
      ...{ owner, table, key, version: { epoch, seq }, deleted, published_ms: epoch * 1_000 + seq },
      row: deleted ? null : { key, says: `${epoch}.${seq}` },
    };
    return { table, event };
  });
}

function stateOf(store: ReplicaStore): unknown {
  const sums = OWNERS.map((owner) => [...store.sums.of(owner)].filter(([, { rows }]) => rows > 0));
  return { tables: TABLE_NAMES.map((table) => store.page(table, "", 1_000)), sums, counts: store.counts() };
}

const log = fc.array(
  fc.record({
    key: fc.nat(3),
    deleted: fc.boolean(),
    restored: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  }),
  { maxLength: 12 },
);
/** Some prefixes of each log, the whole of it among them. */
const deliveries = fc.tuple(log, log, log).chain((logs) =>
  fc.record({
    logs: fc.constant(logs.map((changes, i) => logOf(OWNERS[i]!, changes))),
    prefixes: fc.array(fc.tuple(fc.nat(2), fc.nat(12)), { maxLength: 6 }),
    /** Which of the deliveries under way goes on next. */
    turns: fc.array(fc.nat(8), { minLength: 200, maxLength: 200 }),
    readSizes: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 9 }),
    shuffled: fc.boolean(),
  })
);

function applyAll(
  open: OpenDatabase,
  events: readonly ValidEvent[],
  readSizes: readonly number[],
): ReplicaStore {
  const store = storeIn(open(":memory:"));
  store.counts();
  for (let at = 0, read = 0; at < events.length; read++) {
    const size = readSizes[read % readSizes.length]!;
    store.apply(regionStream("ams"), `${read + 1}-0`, events.slice(at, at + size), [], 1);
    at += size;
  }
  return store;
}

for (const [name, open] of [["bun", openBunDatabase], ["node", openNodeDatabase]] as const) {
  describe(`replica store on ${name}:sqlite`, () => {
    test("any interleaving of any repeated prefixes ends in the state of the ordered logs", () => {
      fc.assert(
        fc.property(deliveries, ({ logs, prefixes, turns, readSizes, shuffled }) => {
          const pending = [...logs, ...prefixes.map(([owner, length]) => logs[owner]!.slice(0, length))]
            .map((events) => [...events]);
          const mixed: ValidEvent[] = [];
          for (let turn = 0; pending.some((events) => events.length > 0); turn++) {
            const under = pending.filter((events) => events.length > 0);
            mixed.push(under[turns[turn % turns.length]! % under.length]!.shift()!);
          }
          // Order means nothing at all, not even within a log.
          if (shuffled) mixed.reverse();
          const ordered = applyAll(open, logs.flat(), [1]);
          const got = applyAll(open, mixed, readSizes);
          expect(stateOf(got)).toEqual(stateOf(ordered));
          ordered.close();
          got.close();
        }),
        { numRuns: 60 },
      );
    });
  });
}

import { expect, test } from "bun:test";
import fc from "fast-check";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { compareGenerations } from "./compare-generations.ts";
import { type ReplicaStore, storeIn, type ValidEvent } from "./replica-store.ts";

const OWNERS = ["worker:h1", "worker:h2"];

/** A run of keys, so that both generations have many of the same and many that the other has not. */
const stretch = fc.record({ from: fc.nat(3_000), count: fc.nat(1_800), seq: fc.integer({ min: 1, max: 3 }) });
const generation = fc.array(stretch, { maxLength: 3 });
type Stretches = readonly { from: number; count: number; seq: number }[];

function eventsOf(stretches: Stretches): Map<string, ValidEvent> {
  const events = new Map<string, ValidEvent>();
  for (const { from, count, seq } of stretches) {
    for (let n = from; n < from + count; n++) {
      const owner = OWNERS[n % 2]!, key = `${owner.slice("worker:".length)}/${String(n).padStart(5, "0")}`;
      const deleted = (n + seq) % 5 === 0;
      const event = { owner, table: "machines", key, version: { epoch: 1, seq }, deleted };
      events.set(key, {
        table: "machines",
        event: { schema: 1, ...event, row: deleted ? null : { key, seq }, published_ms: 1 },
      });
    }
  }
  return events;
}
function storeOf(events: ReadonlyMap<string, ValidEvent>): ReplicaStore {
  const store = storeIn(openBunDatabase(":memory:"));
  store.carry([...events.values()], 1);
  return store;
}

test("compareGenerations() finds, carries and marks what a look at each key by itself would", async () => {
  await fc.assert(
    fc.asyncProperty(generation, generation, fc.boolean(), async (one, other, isSilent) => {
      const [earlier, later] = [eventsOf(one), eventsOf(other)];
      const [before, after] = [storeOf(earlier), storeOf(later)];
      const expected = { differed: 0, carried: 0, gone: [] as string[] };
      for (const key of new Set([...earlier.keys(), ...later.keys()])) {
        const [was, is] = [earlier.get(key)?.event, later.get(key)?.event];
        const isWanted = is !== undefined || (isSilent && was?.owner === OWNERS[0]);
        if (was !== undefined && isWanted && (is === undefined || was.version.seq > is.version.seq)) {
          expected.carried++;
          continue;
        }
        if (is === undefined && was?.deleted === false) expected.gone.push(key);
        const [wasLive, isLive] = [was?.deleted === false, is?.deleted === false];
        if (wasLive !== isLive || (wasLive && was!.version.seq !== is!.version.seq)) expected.differed++;
      }
      let rests = 0;
      const comparison = await compareGenerations({
        ...{ before, after, silent: new Set(isSilent ? OWNERS.slice(0, 1) : []), publishedMsMax: 1 },
        ...{ wallMs: () => 2, rest: () => Promise.resolve(void rests++) },
      });
      const { differed, carried, unreadable } = comparison;
      expect({ differed, carried, unreadable }).toEqual({
        ...{ differed: expected.differed, carried: expected.carried, unreadable: null },
      });
      for (const key of expected.gone) expect([key, after.origin("machines", key)]).toEqual([key, null]);
      const marked = after.page("machines", "", 100_000).filter(({ epoch }) => epoch < 0).map(({ key }) =>
        key
      );
      expect(marked.sort()).toEqual(expected.gone.sort());
      before.close();
      after.close();
    }),
    { numRuns: 40 },
  );
}, 60_000);

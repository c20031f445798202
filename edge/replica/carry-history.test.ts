/** What a replica remembers of earlier versions outlives the generation that remembered it. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { GLOBAL_STREAM, type StateEvent } from "../../control/contract/events.ts";
import { until } from "../edge.fixture.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { CARRY_MS_MAX, carryHistory, SLICE_ROWS } from "./carry-history.ts";
import { Cleanups, TestPublisher } from "./replica.fixture.ts";
import { storeIn } from "./replica-store.ts";
import type { HistoryLimits } from "./row-history.ts";

const WAIT_MS = 20_000;
const HOUR_MS = 3_600_000;
const cleanups = new Cleanups();
afterEach(() => cleanups.run());

function storeWith(limits: HistoryLimits) {
  const store = storeIn(openBunDatabase(":memory:"), limits);
  cleanups.add(() => store.close());
  let seq = 0;
  /** @param row null: it is deleted */
  const put = (key: string, atMs: number, row: Record<string, unknown> | null = { at: atMs }) => {
    const event: StateEvent = {
      schema: 1,
      ...{ owner: "api", table: "hostnames", key, version: { epoch: 1, seq: ++seq }, deleted: row === null },
      ...{ row, published_ms: atMs },
    };
    store.apply(GLOBAL_STREAM, `${atMs}-0`, [{ table: "hostnames", event }], [], atMs);
  };
  const remembered = () => store.pastPage(Infinity, 10_000).map(({ applied_ms }) => applied_ms).reverse();
  return { store, put, remembered };
}

/** One that is being built: it has read what there is, and begins to remember. */
function nextWith(limits: HistoryLimits) {
  const next = storeWith(limits);
  next.store.history.hold();
  next.put("a.test", 1_000);
  next.store.history.begin();
  return next;
}

describe("carryHistory()", () => {
  const limits = { rowsMax: 3 * SLICE_ROWS, keptMs: 1_000_000 };
  const none = () => Promise.resolve();
  const clock = { nowMs: () => 0, wallMs: () => 10_000 };

  test("puts what was remembered before what the next one remembers, and the bound holds for both", async () => {
    const before = storeWith(limits), next = nextWith(limits);
    for (let n = 0; n < 2 * SLICE_ROWS; n++) before.put("a.test", n);
    next.put("a.test", 2_000);
    let rests = 0;
    const rest = () => {
      rests++;
      next.put("a.test", 2_000 + rests);
      return none();
    };
    const carried = await carryHistory({ from: before.store, to: next.store, limits, rest, ...clock });
    expect(carried).toEqual({ versions: 2 * SLICE_ROWS, unreadable: null });
    // The second slice was full as well, so that there might have been more.
    expect(rests).toBe(2);
    expect(next.remembered()).toEqual([...Array(2 * SLICE_ROWS).keys(), 2_000, 2_001, 2_002]);
    expect([70, 1_500, 2_000].map((ms) => next.store.rowAt("hostnames", "a.test", ms)?.row)).toEqual([
      { at: 70 },
      { at: 2 * SLICE_ROWS - 1 },
      { at: 2_000 },
    ]);
    for (let n = 0; n < limits.rowsMax; n++) next.put("a.test", 3_000 + n);
    expect(next.remembered().length).toBe(limits.rowsMax);
    expect(next.remembered()[0]).toBe(3_000);
  });

  test("takes the newest along where not all fits, is young enough or is reached in time", async () => {
    const before = storeWith(limits);
    for (let n = 0; n < 2 * SLICE_ROWS; n++) before.put("a.test", n);
    const carriedWith = async (bounds: Partial<HistoryLimits>, nowMs = clock.nowMs) => {
      const next = nextWith({ ...limits, ...bounds });
      await carryHistory({
        ...{ from: before.store, to: next.store, limits: next.store.history.limits, rest: none },
        ...{ ...clock, nowMs },
      });
      return next.remembered();
    };
    const last = 2 * SLICE_ROWS - 1;
    expect(await carriedWith({ rowsMax: 3 })).toEqual([last - 2, last - 1, last]);
    expect(await carriedWith({ keptMs: clock.wallMs() - (last - 1) })).toEqual([last - 1, last]);
    let ms = 0;
    const slow = await carriedWith({}, () => (ms += CARRY_MS_MAX / 2));
    expect(slow).toEqual([...Array(SLICE_ROWS).keys()].map((n) => SLICE_ROWS + n));
  });

  test("says what it could not read", async () => {
    const next = nextWith(limits);
    const from = {
      pastPage: () => {
        throw new Error("database disk image is malformed");
      },
    };
    expect(await carryHistory({ from, to: next.store, limits, rest: none, ...clock })).toEqual({
      ...{ versions: 0, unreadable: "database disk image is malformed" },
    });
  });
});

describe("a replica that remembers", () => {
  /** A millisecond in which nothing else happens. */
  async function between(): Promise<number> {
    const before = Date.now();
    await until(() => Date.now() > before);
    const ms = Date.now();
    await until(() => Date.now() > ms);
    return ms;
  }

  async function remembering() {
    const { url, admin } = await cleanups.redis();
    const api = new TestPublisher(admin, "api");
    const file = join(cleanups.folder(), "r.sqlite");
    const { replica } = cleanups.follow({
      ...{ file, url, tuning: { history: { rowsMax: 1_000, keptMs: HOUR_MS } } },
    });
    const app = (n: number) => String(n).repeat(20);
    const name = (key: string, n: number) => api.publish("hostnames", key, { hostname: key, app_id: app(n) });
    const appAt = (key: string, atMs: number) => {
      const past = replica.rowAt("hostnames", key, atMs);
      return past === null ? "unknown" : (past.row as { app_id: string } | null)?.app_id[0] ?? "deleted";
    };
    /** The time at which all of it is here. */
    const taken = async () => {
      const compared = replica.status().digests.compared;
      await api.digest();
      await until(() => replica.status().digests.compared > compared, WAIT_MS);
      return await between();
    };
    return { admin, api, replica, file, name, appAt, taken };
  }

  test("knows after a take-over what was before, at it and since", async () => {
    const { admin, api, replica, name, appAt, taken } = await remembering();
    for (const key of ["changed", "lost", "still"]) await name(key, 1);
    const first = await taken();
    await name("changed", 2);
    const second = await taken();
    await admin.flushall();
    // The deletion went with the stream: the serving one never hears of it, and the next one has no such row.
    api.event("hostnames", "lost", null);
    api.forgetTombstones();
    await api.publishAgain();
    await until(() => replica.status().bootstraps === 1 && replica.status().healing === null, WAIT_MS);
    expect(replica.status().last_bootstrap).toMatchObject({ past_carried: 4 });
    const third = await between();
    await name("changed", 3);
    const fourth = await taken();
    const at = (key: string) => [first, second, third, fourth].map((ms) => appAt(key, ms));
    expect({ changed: at("changed"), lost: at("lost"), still: at("still") }).toEqual({
      changed: ["1", "2", "2", "3"],
      lost: ["1", "1", "deleted", "deleted"],
      still: ["1", "1", "1", "1"],
    });
  }, 40_000);

  test("forgets what a damaged file remembered", async () => {
    const { replica, file, name, appAt, taken } = await remembering();
    for (const key of ["changed", "still"]) await name(key, 1);
    const first = await taken();
    await name("changed", 2);
    await taken();
    const stranger = openBunDatabase(file);
    stranger.exec("DELETE FROM hostnames WHERE key = 'still'");
    stranger.close();
    await until(() => replica.status().bootstraps === 1 && replica.status().healing === null, WAIT_MS);
    expect(replica.status().last_bootstrap).toMatchObject({ why: "scrub", past_carried: 0 });
    expect([appAt("changed", first), appAt("still", first)]).toEqual(["unknown", "1"]);
  }, 40_000);
});

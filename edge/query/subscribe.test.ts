import { afterEach, expect, test } from "bun:test";
import { until } from "../edge.fixture.ts";
import { appId, cleanUp, lazyClient, type Line, QueriedReplica } from "./query.fixture.ts";

afterEach(cleanUp);

const APPS = "SELECT key, name FROM apps WHERE name LIKE 's%'";

test(
  "a subscription begins with a snapshot and goes on with changes, each with the row's number and a cursor",
  async () => {
    const replica = await new QueriedReplica().serve();
    replica.app("shop");
    replica.app("blog");
    const watch = await replica.subscribe({ sql: APPS });
    const [head, row, { snapshot }] = await watch.until("snapshot") as [Line, Line, Line];
    expect(head).toEqual({ columns: ["key", "name"], key: ["key"], resumed: false });
    expect(row).toEqual({ row: { id: 1, values: [appId("shop"), "shop"] } });
    expect(snapshot).toEqual({ rows: 1, cursor: expect.any(String) });
    replica.app("site");
    const inserted = (await watch.next())!.change;
    expect(inserted).toEqual({
      kind: "insert",
      id: 2,
      values: [appId("site"), "site"],
      cursor: expect.any(String),
    });
    replica.put("apps", appId("shop"), {
      id: appId("shop"),
      name: "shoes",
      org_id: "",
      org_slug: "",
      services: [],
    });
    expect((await watch.next())!.change).toMatchObject({
      kind: "update",
      id: 1,
      values: [appId("shop"), "shoes"],
    });
    replica.put("apps", appId("site"), null);
    expect((await watch.next())!.change).toMatchObject({
      kind: "delete",
      id: 2,
      values: [appId("site"), "site"],
    });
  },
  30_000,
);

test(
  "a change of a table that a statement does not read costs it nothing, and many changes one look",
  async () => {
    const replica = await new QueriedReplica().serve();
    const watch = await replica.subscribe({ sql: "SELECT count(*) FROM apps" });
    await watch.until("snapshot");
    const evaluations = async () => {
      await until(() => replica.service!.status().watchers === 1);
      return replica.service!.status().evaluations!;
    };
    for (let i = 0; i < 200; i++) {
      replica.put("hostnames", `${i}.test`, {
        hostname: `${i}.test`,
        app_id: appId("a"),
      });
    }
    for (let i = 0; i < 500; i++) replica.app(`app-${i}`);
    for (;;) {
      const { change } = (await watch.next())!;
      if (change.values[0] === 500 && change.kind === "insert") break;
    }
    expect(await evaluations()).toBeLessThan(100);
  },
  30_000,
);

test("rows are told apart by the columns that are named, by their key, or by all of them", async () => {
  const replica = await new QueriedReplica().serve();
  replica.app("shop");
  replica.app("blog");
  const counted = await replica.subscribe({
    sql: "SELECT org_slug, count(*) AS many FROM apps GROUP BY 1",
    key: ["org_slug"],
  });
  const whole = await replica.subscribe({ sql: "SELECT org_slug FROM apps" });
  await counted.until("snapshot");
  expect((await whole.until("snapshot")).filter(({ row }) => row !== undefined)).toHaveLength(2);
  replica.app("site");
  expect((await counted.next())!.change).toMatchObject({ kind: "update", id: 1, values: ["org", 3] });
  expect((await whole.next())!.change).toMatchObject({ kind: "insert", values: ["org"] });
  const wrong = await replica.post("/subscribe", { sql: "SELECT name FROM apps", key: ["nome"] });
  expect([wrong.status, ((await wrong.json()) as Line).error.code]).toEqual([400, "query.body_invalid"]);
}, 30_000);

test("who comes back with a cursor gets what changed since, and no row twice", async () => {
  const replica = await new QueriedReplica().serve();
  replica.app("shop");
  const first = await replica.subscribe({ sql: APPS });
  const { cursor } = (await first.until("snapshot")).at(-1)!.snapshot;
  replica.app("sun");
  const seen = (await first.next())!.change.cursor;
  await first.close();
  await until(() => replica.service!.status().watchers === 0);
  replica.app("sea");
  replica.app("sky");
  const names = async (from: string, many: number) => {
    const again = await replica.subscribe({ sql: APPS, from });
    expect(await again.next()).toMatchObject({ resumed: true });
    const found: string[] = [];
    while (found.length < many) found.push((await again.next())!.change.values[1]);
    await again.close();
    return found;
  };
  expect(await names(seen, 2)).toEqual(["sea", "sky"]);
  expect(await names(cursor, 3)).toEqual(["sun", "sea", "sky"]);
}, 30_000);

test("a cursor that is too old, from another life or another statement is told to start over", async () => {
  const replica = await new QueriedReplica().serve({ changesKeptMax: 2, retainedMsMax: 200 });
  const watch = await replica.subscribe({ sql: APPS });
  const { cursor } = (await watch.until("snapshot")).at(-1)!.snapshot;
  const status = async (sql: string, from: string) => {
    const response = await replica.post("/subscribe", { sql, from });
    return response.ok ? 200 : [response.status, ((await response.json()) as Line).error.code];
  };
  const gone = [410, "query.cursor_gone"];
  const changes = [];
  for (const name of ["sa", "sb", "sc"]) {
    replica.app(name);
    changes.push((await watch.next())!.change);
  }
  expect(await status(APPS, cursor)).toEqual(gone);
  expect(await status("SELECT key FROM apps", changes[2].cursor)).toEqual(gone);
  for (const wrong of ["", "x", `${cursor}9`, "a.b.c"]) {
    expect(await status(APPS, wrong), wrong).toEqual(gone);
  }
  const again = await replica.subscribe({ sql: APPS, from: changes[0].cursor });
  expect(await again.next()).toMatchObject({ resumed: true });
  expect((await again.next())!.change).toEqual(changes[1]);
  await again.close();
  await watch.close();
  // Nobody came back in time.
  await until(() => replica.service!.status().subscriptions === 0);
  expect(await status(APPS, changes[2].cursor)).toEqual(gone);
}, 30_000);

test("a subscription goes on across another generation of the replica", async () => {
  const replica = await new QueriedReplica().serve();
  replica.app("shop");
  replica.app("site");
  const watch = await replica.subscribe({ sql: APPS });
  await watch.until("snapshot");
  replica.takeOver(() => {
    replica.app("shop");
    replica.app("sun");
  });
  const changes = [(await watch.next())!.change, (await watch.next())!.change];
  expect(changes.map(({ kind, values }) => [kind, values[1]])).toEqual([["delete", "site"], [
    "insert",
    "sun",
  ]]);
  // And word of the new one reaches it.
  replica.app("sea");
  expect((await watch.next())!.change).toMatchObject({ kind: "insert", values: [appId("sea"), "sea"] });
  expect(await replica.query("SELECT count(*) FROM apps")).toContainEqual({ row: [3] });
}, 30_000);

test("a client that does not read is cut off and told why; the others go on", async () => {
  const replica = await new QueriedReplica().serve({
    unreadBytesMax: 600_000,
    stallMsMax: 60_000,
    farewellMsMax: 20_000,
  });
  const sql = "SELECT key, services FROM apps";
  const slow = lazyClient(replica.socket, { sql });
  const quick = await replica.subscribe({ sql });
  await quick.until("snapshot");
  await until(() => replica.service!.status().watchers === 2);
  const filler = "x".repeat(100_000);
  for (let round = 0; replica.service!.status().cut_off === 0; round++) {
    expect(round).toBeLessThan(400);
    replica.put("apps", appId("big"), { services: `${round}${filler}` });
    await quick.next();
  }
  const said = await slow.rest();
  expect(said).toContain("query.slow_reader");
  expect(said).toContain("bytes wait to be read");
}, 60_000);

test("a client that stalls is cut off after a time", async () => {
  const replica = await new QueriedReplica().serve({ stallMsMax: 500, farewellMsMax: 20_000 });
  replica.putAll("apps", Array.from({ length: 15 }, (_, at) => [`${at}`, { services: "x".repeat(100_000) }]));
  const slow = lazyClient(replica.socket, { sql: "SELECT key, services FROM apps" });
  await until(() => replica.service!.status().cut_off === 1, 15_000);
  expect(await slow.rest()).toContain("it has read nothing for 500 ms");
}, 60_000);

test("subscriptions have bounds, and one that outgrows them ends with the reason", async () => {
  const replica = await new QueriedReplica().serve({
    ...{ subscriptionsMax: 2, watchersMax: 3, subscriptionRowsMax: 3, retainedMsMax: 60_000 },
  });
  const sql = (n: number) => `SELECT key, ${n} FROM apps`;
  const first = await replica.subscribe({ sql: sql(1) });
  await first.until("snapshot");
  const second = await replica.subscribe({ sql: sql(2) });
  await second.until("snapshot");
  const third = await replica.post("/subscribe", { sql: sql(3) });
  expect([third.status, ((await third.json()) as Line).error.code]).toEqual([503, "query.busy"]);
  const shared = await replica.subscribe({ sql: sql(1) });
  await shared.until("snapshot");
  expect((await replica.post("/subscribe", { sql: sql(1) })).status).toBe(503);
  await second.close();
  await until(() => replica.service!.status().watchers === 2);
  // One that nobody watches makes room.
  const fourth = await replica.subscribe({ sql: sql(4) });
  await fourth.until("snapshot");
  replica.putAll("apps", ["a", "b", "c", "d"].map((key) => [key, {}]));
  expect((await first.until("error")).at(-1)!.error.code).toBe("query.result_too_large");
  expect(await first.next()).toBeNull();
}, 30_000);

test("a statement that cannot be watched is refused as a query is", async () => {
  const replica = await new QueriedReplica().serve({ subscriptionMsMax: 1_500 });
  const code = async (sql: string) =>
    ((await (await replica.post("/subscribe", { sql })).json()) as Line).error.code;
  expect(await code("DELETE FROM main.apps")).toBe("query.forbidden");
  expect(await code("SELECT nothing FROM apps")).toBe("query.sql_invalid");
  expect(
    await code("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0"),
  ).toBe(
    "query.time_exceeded",
  );
  const watch = await replica.subscribe({ sql: APPS });
  await watch.until("snapshot");
}, 30_000);

test("a heartbeat comes while nothing changes", async () => {
  const replica = await new QueriedReplica().serve({ heartbeatMs: 100 });
  const watch = await replica.subscribe({ sql: APPS });
  const { cursor } = (await watch.until("snapshot")).at(-1)!.snapshot;
  expect(await watch.heartbeat()).toEqual({ cursor, at_ms: expect.any(Number) });
}, 30_000);

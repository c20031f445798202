import { afterEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { freePort } from "../../deploy/servers/child.ts";
import { until } from "../edge.fixture.ts";
import { generationOfLog } from "./write-ahead-log.ts";
import { appId, cleanUp, type Line, QueriedReplica } from "./query.fixture.ts";

afterEach(cleanUp);

const BOMB = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

test("a query answers with columns, rows and an end, out of the contract's columns", async () => {
  const replica = await new QueriedReplica().serve();
  for (const name of ["shop", "blog"]) replica.app(name);
  expect(await replica.query("SELECT name, key = ? AS asked FROM apps ORDER BY name", [appId("shop")]))
    .toEqual([
      { columns: ["name", "asked"] },
      { row: ["blog", 0] },
      { row: ["shop", 1] },
      { end: { rows: 2, ms: expect.any(Number) } },
    ]);
  replica.put("apps", appId("shop"), null);
  expect(await replica.query("SELECT count(*) FROM apps")).toContainEqual({ row: [1] });
  expect(await replica.query("SELECT count(*), sum(deleted) FROM main.apps")).toContainEqual({ row: [2, 1] });
  expect(await replica.query("SELECT published_by, epoch FROM apps")).toContainEqual({ row: ["api", 1] });
  const [, { row }] = await replica.query("SELECT 9007199254740993, x'00ff', 1.5, NULL, ?", [true]) as [
    Line,
    Line,
  ];
  expect(row).toEqual(["9007199254740993", { base64: "AP8=" }, 1.5, null, 1]);
}, 30_000);

test("every table of the contract can be read by its columns, those with several forms too", async () => {
  const replica = await new QueriedReplica().serve();
  const wanted = {
    hostnames: "hostname, app_id",
    machines: "id, host_id, state, healthy",
    hosts: "edge",
    certificates: "name, not_after_ms",
    acme_answers: "type, token, key_authorization",
    publishers: "owner, public_key, published_by",
  };
  for (const [table, columns] of Object.entries(wanted)) {
    const [first] = await replica.query(`SELECT ${columns} FROM ${table}`);
    expect(first, table).toEqual({ columns: columns.split(", ") });
  }
}, 30_000);

test("nothing is written, attached or loaded, and no internal table is read", async () => {
  const replica = await new QueriedReplica().serve();
  replica.app("shop");
  const files = () => readdirSync(replica.folder).sort();
  const before = files();
  const refused = [
    "INSERT INTO apps (key) VALUES ('x')",
    "UPDATE main.apps SET owner = 'x'",
    "DELETE FROM main.apps",
    "DROP TABLE main.apps",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x (y)",
    "CREATE TEMP VIEW machines2 AS SELECT 1",
    "REPLACE INTO main.apps (key) VALUES ('x')",
    "WITH x AS (SELECT 1) DELETE FROM main.apps",
    `ATTACH '${join(replica.folder, "other.sqlite")}' AS other`,
    "DETACH temp",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA user_version = 9",
    "PRAGMA writable_schema = 1",
    "PRAGMA query_only",
    "SELECT * FROM pragma_table_info('apps')",
    "SELECT load_extension('/tmp/x.so')",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM sqlite_temp_master",
    "SELECT * FROM quarantine",
    "SELECT * FROM main.streams",
    "SELECT (SELECT position FROM streams)",
    "SELECT count(*) FROM quarantine",
    "SELECT count(*) FROM Main.Streams AS n",
    "WITH n AS (SELECT 1) SELECT count(*) FROM n, incidents",
    "SELECT count(*) FROM pragma_table_list",
    "SELECT count(*) FROM sqlite_master",
    "SELECT count(*) FROM dbstat",
    "WITH apps AS (SELECT * FROM digests) SELECT count(*) FROM apps",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "SAVEPOINT x",
    "REINDEX",
    "ANALYZE",
  ];
  for (const sql of refused) expect(await replica.refusal(sql), sql).toBe("query.forbidden");
  const invalid = [
    "VACUUM",
    `VACUUM INTO '${join(replica.folder, "copy.sqlite")}'`,
    "SELECT 1; DELETE FROM main.apps",
    "SELECT 1; SELECT 2",
    "SELEC 1",
    "SELECT nothing FROM apps",
    "SELECT * FROM no_such_table",
    "-- nothing",
    ";",
  ];
  for (const sql of invalid) {
    expect(["query.sql_invalid", "query.forbidden"], sql).toContain(await replica.refusal(sql) as string);
  }
  expect(await replica.refusal("WITH n AS (SELECT name FROM apps) SELECT count(*) FROM n")).toBeNull();
  expect(await replica.refusal("SELECT count(*) FROM main.apps, json_each('[1]')")).toBeNull();
  expect(await replica.refusal("SELECT 1; -- that was it\n /* all */ ;")).toBeNull();
  expect(await replica.refusal("SELECT name FROM apps WHERE name = ?", ["a", "b"])).toBe("query.sql_invalid");
  expect(files()).toEqual(before);
  expect(await replica.query("SELECT count(*) FROM main.apps")).toContainEqual({ row: [1] });
}, 60_000);

test("a statement that never ends is ended, and the next one is answered", async () => {
  const replica = await new QueriedReplica().serve({ statementMsMax: 1_500, queriesMax: 1 });
  replica.app("shop");
  for (let times = 0; times < 2; times++) {
    const startedMs = performance.now();
    expect(await replica.refusal(BOMB)).toBe("query.time_exceeded");
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    expect(await replica.refusal("SELECT count(*) FROM apps")).toBeNull();
  }
  await until(() => replica.service!.status().killed === 2);
}, 60_000);

test("answers have bounds: rows, bytes, one value, memory", async () => {
  const replica = await new QueriedReplica().serve({
    ...{ rowsMax: 100, bytesMax: 50_000, valueBytesMax: 20_000, runnerRssMbMax: 200, statementMsMax: 20_000 },
  });
  const numbers = (many: number) =>
    `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ${many})`;
  expect(await replica.refusal(`${numbers(100)} SELECT x FROM n`)).toBeNull();
  expect(await replica.refusal(`${numbers(101)} SELECT x FROM n`)).toBe("query.result_too_large");
  expect(await replica.refusal(`${numbers(6)} SELECT x, hex(zeroblob(5000)) FROM n`)).toBe(
    "query.result_too_large",
  );
  expect(await replica.refusal("SELECT zeroblob(20001)")).toBe("query.result_too_large");
  expect(await replica.refusal("SELECT zeroblob(900000000)")).toBe("query.result_too_large");
  const hoard = `${
    numbers(5_000_000)
  } SELECT count(*) FROM (SELECT hex(randomblob(200)) h FROM n ORDER BY h)`;
  expect(await replica.refusal(hoard)).toBe("query.memory_exceeded");
  expect(await replica.refusal("SELECT 1")).toBeNull();
  expect(await replica.refusal(`SELECT '${"x".repeat(17_000)}'`)).not.toBeNull();
}, 60_000);

test("an answer that waits from the start is no slow reader's", async () => {
  const replica = await new QueriedReplica().serve({ unreadBytesMax: 10_000 });
  const lines = await replica.query(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9000) SELECT x, hex(zeroblob(300)) FROM n",
  );
  expect([lines.length, lines.at(-1)!.end.rows]).toEqual([9_002, 9_000]);
}, 30_000);

test("as many statements run as may, and the next one is told to come again", async () => {
  const replica = await new QueriedReplica().serve({ queriesMax: 2, statementMsMax: 3_000 });
  const running = [replica.refusal(BOMB), replica.refusal(BOMB)];
  await until(async () => await replica.refusal("SELECT 1") === "query.busy");
  const response = await replica.post("/query", { sql: "SELECT 1" });
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await Promise.all(running)).toEqual(["query.time_exceeded", "query.time_exceeded"]);
  expect(await replica.refusal("SELECT 1")).toBeNull();
}, 60_000);

test("a client that leaves gives its place back at once", async () => {
  const replica = await new QueriedReplica().serve({ queriesMax: 1, statementMsMax: 60_000 });
  const leave = new AbortController();
  const asked = replica.post("/query", { sql: BOMB }, { signal: leave.signal }).catch(() => "left");
  await until(async () => await replica.refusal("SELECT 1") === "query.busy");
  leave.abort();
  expect(await asked).toBe("left");
  await until(async () => await replica.refusal("SELECT 1") === null, 10_000);
}, 60_000);

test("statements that overlap all the time do not keep the write-ahead log from beginning anew", async () => {
  const replica = await new QueriedReplica().serve({ busyMsMax: 300 });
  const filler = "x".repeat(40_000);
  const write = () => {
    for (let i = 0; i < 50; i++) replica.put("apps", appId("big"), { services: filler });
  };
  // Long ones, which read the file all the while.
  const sql = `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000)
    SELECT (SELECT count(*) FROM apps), count(*) FROM n`;
  let stopped = false;
  const readers = [0, 1, 2].map(async (at) => {
    await new Promise((resolve) => setTimeout(resolve, at * 50));
    while (!stopped) expect(["query.time_exceeded", null]).toContain(await replica.refusal(sql));
  });
  await until(() => {
    write();
    return statSync(`${realpathSync(replica.file)}-wal`).size > 40_000_000;
  }, 20_000);
  const before = generationOfLog(replica.file);
  await until(() => {
    write();
    return generationOfLog(replica.file) !== before;
  }, 30_000);
  await until(() => replica.service!.status().breaths! > 0);
  stopped = true;
  await Promise.all(readers);
}, 60_000);

test("the socket is its owner's alone, and gone when the service has stopped", async () => {
  const replica = await new QueriedReplica().serve();
  expect(statSync(replica.socket).mode & 0o777).toBe(0o600);
  const page = await fetch("http://replica/replica", { unix: replica.socket } as RequestInit);
  expect(await page.json()).toEqual({ connected: true });
  await replica.service!.stop();
  expect(existsSync(replica.socket)).toBe(false);
}, 30_000);

test("on loopback a token is asked for, out of a file that its owner alone reads", async () => {
  const port = await freePort();
  const replica = new QueriedReplica();
  const token = "t".repeat(40), token_file = join(replica.folder, "token");
  writeFileSync(token_file, `${token}\n`, { mode: 0o644 });
  const serving = replica.serve({}, { address: "127.0.0.1", port, token_file });
  // Nothing listens while others may read it; then it is tried again.
  await until(() => replica.service?.status().last_error?.includes("others may read it") === true, 15_000);
  chmodSync(token_file, 0o600);
  await serving;
  const ask = async (authorization?: string) =>
    (await fetch(`http://127.0.0.1:${port}/query`, {
      method: "POST",
      body: JSON.stringify({ sql: "SELECT 1" }),
      ...(authorization === undefined ? {} : { headers: { authorization } }),
    })).status;
  expect(await ask()).toBe(401);
  expect(await ask(`Bearer ${token.slice(1)}`)).toBe(401);
  expect(await ask(`Bearer ${token}x`)).toBe(401);
  expect(await ask(token)).toBe(401);
  expect(await ask(`Bearer ${token}`)).toBe(200);
}, 30_000);

test("what is no question is refused with what it lacks", async () => {
  const replica = await new QueriedReplica().serve({ bodyBytesMax: 1_000 });
  const ask = async (body: unknown) => {
    const response = await replica.post("/query", body);
    return [response.status, (await response.json() as Line).error.code];
  };
  for (
    const body of ["{", "[]", "{}", { sql: "" }, { sql: "SELECT 1", params: [{}] }, { sql: 1 }, {
      sql: "SELECT 1",
      parms: [],
    }]
  ) {
    expect(await ask(body), JSON.stringify(body)).toEqual([400, "query.body_invalid"]);
  }
  expect(await ask({ sql: `SELECT 1 ${" ".repeat(1_000)}` })).toEqual([400, "query.body_invalid"]);
  expect((await replica.post("/", {})).status).toBe(404);
}, 30_000);

test(
  "a process that answers queries and is killed is followed by another; its own processes end with it",
  async () => {
    const replica = await new QueriedReplica().serve({ statementMsMax: 60_000 });
    void replica.refusal(BOMB).catch(() => {});
    const server = replica.service!.status().pid!;
    const children = () => childrenOf(server);
    await until(() => children().length === 1);
    const [runner] = children();
    process.kill(server, "SIGKILL");
    await until(() => !existsSync(`/proc/${runner}`), 10_000);
    await until(() => replica.refusal("SELECT 1").then((code) => code === null, () => false), 20_000);
    expect(replica.service!.status()).toMatchObject({ restarts: 1 });
  },
  60_000,
);

function childrenOf(pid: number): string[] {
  return readdirSync("/proc").filter((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid;
    } catch {
      return false;
    }
  });
}

/** `godwit replica` against a replicator alone, with a real Redis behind it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { startOwnRedis } from "../../../deploy/servers/testbed.ts";
import { GLOBAL_STREAM } from "../../contract/events.ts";
import { rawBatch } from "../../contract/stream-entry.fixture.ts";
import { renderChange, renderRows, renderStatus } from "./replica.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-cli-replica-"));
const socket = join(folder, "query.sock");
const root = join(import.meta.dir, "../../..");
let redis: Redis;
let replicator: Bun.Subprocess<"ignore", "pipe", "ignore">;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  const server = await startOwnRedis();
  cleanups.push(() => server.stop());
  redis = new Redis(server.urlOf("admin"));
  cleanups.push(() => redis.disconnect());
  const url = new URL(server.urlOf("edge")), passwordFile = join(folder, "password");
  writeFileSync(passwordFile, url.password, { mode: 0o600 });
  url.password = "";
  replicator = Bun.spawn([
    ...[process.execPath, join(root, "edge/main.ts"), "replica", "--json", "--query", socket],
    ...["--redis", url.href, "--redis-password-file", passwordFile, "--file", join(folder, "r.sqlite")],
  ], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  cleanups.push(async () => {
    replicator.kill("SIGTERM");
    await replicator.exited;
  });
  await publish("a.test");
  let said = "";
  for await (const bytes of replicator.stdout) {
    said += new TextDecoder().decode(bytes);
    if (said.includes('"caught_up"') && said.includes('"queries"')) break;
  }
}, 60_000);
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
});

let seq = 0;
async function publish(hostname: string): Promise<void> {
  const event = {
    ...{ schema: 1, owner: "api", table: "hostnames", key: hostname, version: { epoch: 1, seq: ++seq } },
    ...{ deleted: false, row: { hostname, app_id: "a".repeat(20) }, published_ms: Date.now() },
  };
  await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(JSON.stringify(event)));
}

function spawn(env: Record<string, string>, ...args: string[]) {
  return Bun.spawn([process.execPath, join(root, "control/cli/main.ts"), "replica", ...args], {
    ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    env: { ...process.env, GODWIT_HOME: "/nonexistent", GODWIT_REPLICA_SOCKET: "", ...env },
  });
}
async function godwit(env: Record<string, string>, ...args: string[]) {
  const child = spawn(env, ...args);
  const [out, err, code] = await Promise.all([
    new Response(child.stdout as ReadableStream).text(),
    new Response(child.stderr as ReadableStream).text(),
    child.exited,
  ]);
  return { out, err, code };
}

test("godwit replica query prints a table, or one document with --json", async () => {
  const sql = "SELECT hostname, epoch FROM hostnames WHERE hostname = ? AND epoch = ?";
  const table = await godwit({}, "query", sql, "-p", "a.test", "-p", "1", "--socket", socket);
  expect(table).toEqual({ out: "HOSTNAME  EPOCH\na.test    1\n", err: "", code: 0 });
  const json = await godwit(
    { GODWIT_REPLICA_SOCKET: socket },
    "query",
    sql,
    "-p",
    "a.test",
    "-p",
    "1",
    "--json",
  );
  expect(JSON.parse(json.out)).toEqual({ columns: ["hostname", "epoch"], rows: [["a.test", 1]] });
  const none = await godwit({}, "query", "SELECT hostname FROM hostnames WHERE 0", "--socket", socket);
  expect(none.out).toBe("no rows\n");
}, 30_000);

test("godwit replica takes the socket that `up` has left in its home", async () => {
  writeFileSync(join(folder, "cli.json"), JSON.stringify({ replica_socket: socket }));
  const { out, code } = await godwit(
    { GODWIT_HOME: folder },
    "query",
    "SELECT count(*) AS many FROM hostnames",
    "--json",
  );
  expect([code, JSON.parse(out).columns]).toEqual([0, ["many"]]);
}, 30_000);

test("godwit replica status says how fresh it is", async () => {
  const { out, code } = await godwit({}, "status", "--socket", socket);
  expect(code).toBe(0);
  expect(out).toStartWith("replica     following\nRedis       answered ");
  expect(out).toMatch(/hostnames +\d+ +0/);
  const json = await godwit({}, "status", "--socket", socket, "--json");
  expect(JSON.parse(json.out)).toMatchObject({ from: "redis", connected: true, queries: { restarts: 0 } });
}, 30_000);

test(
  "godwit replica watch prints the rows, then each change, and goes on after the connection breaks",
  async () => {
    const child = spawn({}, "watch", "SELECT key, app_id FROM hostnames", "--json", "--socket", socket);
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
    let said = "";
    const untilSaid = async (what: string) => {
      while (!said.includes(what)) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`it ended after ${said}`);
        said += new TextDecoder().decode(value);
      }
    };
    try {
      await untilSaid('"snapshot"');
      await publish("b.test");
      await untilSaid('"change":{"kind":"insert","id":2,"values":["b.test"');
      // Whoever answers it is replaced: all of its cursors are gone.
      const { queries } = JSON.parse((await godwit({}, "status", "--json", "--socket", socket)).out);
      process.kill(queries.pid, "SIGKILL");
      said = "";
      await untilSaid('"snapshot":{"rows":2');
      await publish("c.test");
      await untilSaid('"values":["c.test"');
    } finally {
      child.kill("SIGINT");
      await child.exited;
    }
  },
  60_000,
);

test("godwit replica says what is wrong, and what to do", async () => {
  const wrong = await godwit({}, "query", "DELETE FROM main.hostnames", "--socket", socket);
  expect([wrong.code, wrong.err.includes("query.forbidden"), wrong.err.includes("SELECT reads")]).toEqual([
    2,
    true,
    true,
  ]);
  const typo = await godwit({}, "watch", "SELECT nothing FROM hostnames", "--socket", socket, "--json");
  expect([typo.code, JSON.parse(typo.out).error.code]).toEqual([2, "query.sql_invalid"]);
  const none = await godwit({}, "status");
  expect([none.code, none.err.includes("cli.no_replica"), none.err.includes("bun run up")]).toEqual([
    2,
    true,
    true,
  ]);
  const away = await godwit({}, "watch", "SELECT 1", "--socket", join(folder, "nobody.sock"));
  expect([away.code, away.err.includes("cli.unreachable"), away.err.includes("rows.query")]).toEqual([
    6,
    true,
    true,
  ]);
}, 30_000);

test("renderRows() keeps columns of one name apart, and shows what would steer a terminal", () => {
  expect(
    renderRows(["key", "key", "note"], [["a", 1, null], ["b", 2, "\x1b]0;x\x07\n"], [
      { base64: "AA==" },
      3,
      "y".repeat(80),
    ]]),
  ).toBe(
    [
      "KEY                KEY 2  NOTE",
      "a                  1      -",
      "b                  2      \\x1b]0;x\\x07\\x0a",
      `{"base64":"AA=="}  3      ${"y".repeat(59)}…`,
    ].join("\n"),
  );
});

test("renderChange() has the time, what happened and the columns", () => {
  expect(renderChange(["key", "state"], { kind: "update", values: ["m", null] }, new Date(0))).toBe(
    "1970-01-01T00:00:00.000Z ~ key=m  state=-",
  );
});

test("renderStatus() says that a replica is stale or away", () => {
  expect(renderStatus({ connected: true, stale: true, stale_ms: 90_000 })).toStartWith(
    "replica     stale\nRedis       answered 90.0 s ago",
  );
  expect(renderStatus({ connected: false, stale_ms: null, last_error: "refused" })).toStartWith(
    "replica     disconnected\nRedis       answered never; last: refused",
  );
  const silent = renderStatus({ connected: true, stale: true, stale_ms: 0, behind_ms: 0, silent_ms: 75_000 });
  expect(silent).toContain("replica     stale\n");
  expect(silent).toContain("\nowners      heard 75.0 s ago\n");
});

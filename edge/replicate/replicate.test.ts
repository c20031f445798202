/** A replicator alone, as a process, on both runtimes: a plain Redis that anybody may have filled by hand. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { freePort } from "../../deploy/servers/child.ts";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import { idOf, until } from "../edge.fixture.ts";
import { openBunDatabase } from "../runtime/sqlite-bun.ts";
import { RUNTIMES } from "../workers/workers.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-replicate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const program = new URL("../main.ts", import.meta.url).pathname;

let seq = 0;
function hostnameEvent(hostname: string): string {
  return JSON.stringify({
    ...{ schema: 1, owner: "api", table: "hostnames", key: hostname, version: { epoch: 1, seq: ++seq } },
    ...{ deleted: false, row: { hostname, app_id: idOf("app") }, published_ms: Date.now() },
  });
}

/** What it printed so far, as objects. */
const linesOf = (file: string): { event: string; [field: string]: unknown }[] =>
  readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));

for (const runtime of ["bun", "deno"] as const) {
  describe(`a replicator alone on ${runtime}`, () => {
    if (!existsSync(RUNTIMES[runtime][0]!)) {
      return void test.skip(`skipped: there is no ${runtime} here`, () => {});
    }

    test("follows a Redis into its file, tells how it is, and ends with 0", async () => {
      const server = await startOwnRedis();
      const redis = new Redis(server.urlOf("admin"));
      const own = mkdtempSync(join(folder, "replica-"));
      const [file, socket, passwordFile] = [join(own, "r.sqlite"), join(own, "admin.sock"), join(own, "pw")];
      const url = new URL(server.urlOf("edge"));
      writeFileSync(passwordFile, url.password, { mode: 0o600 });
      url.password = "";
      const start = (name: string, admin: string, ...more: string[]) =>
        Bun.spawn([
          ...RUNTIMES[runtime],
          ...[program, "replica", "--redis", url.href, "--redis-password-file", passwordFile],
          ...["--file", file, "--admin", admin, "--json", ...more],
        ], {
          stdin: "ignore",
          stdout: Bun.file(join(own, name)),
          stderr: Bun.file(join(own, `${name}.log`)),
        });
      const caughtUp = (name: string) =>
        until(() => {
          const path = join(own, name);
          return existsSync(path) && linesOf(path).some(({ event }) => event === "caught_up");
        }, 30_000);

      await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(hostnameEvent("a.test"), hostnameEvent("b.test")));
      const first = start("first", socket);
      try {
        await caughtUp("first");
        expect(linesOf(join(own, "first")).find(({ event }) => event === "caught_up")).toMatchObject({
          rows: 2,
        });
        expect(statSync(socket).mode & 0o777).toBe(0o600);
        const ask = async (path: string) =>
          await (await fetch(`http://admin${path}`, { unix: socket })).text();
        const replica = async () => JSON.parse(await ask("/replica"));
        expect(JSON.parse(await ask("/healthz"))).toMatchObject({ status: "ok" });
        await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(hostnameEvent("c.test")));
        await until(async () => (await replica()).tables.hostnames.rows === 3, 10_000);
        expect(await replica()).toMatchObject({ from: "redis", connected: true, events_applied: 3 });
        const metrics = readExposition(await ask("/metrics"));
        expect(valueOf(metrics, "godwit_replica_rows", { table: "hostnames" })).toBe(3);
        expect(valueOf(metrics, "godwit_replica_connected")).toBe(1);
      } finally {
        first.kill("SIGTERM");
      }
      expect(await first.exited).toBe(0);
      expect(existsSync(socket)).toBe(false);

      // Another reads on from there, on a port this time.
      await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(hostnameEvent("d.test")));
      const [port, snapshotsPort] = [await freePort(), await freePort()];
      const queries = join(own, "query.sock");
      const second = start(
        ...["second", `127.0.0.1:${port}`, `--snapshots-listen=127.0.0.1:${snapshotsPort}`] as const,
        ...["--query", queries],
      );
      try {
        await caughtUp("second");
        const replica = await (await fetch(`http://127.0.0.1:${port}/replica`)).json();
        expect(replica).toMatchObject({ events_applied: 1, tables: { hostnames: { rows: 4 } } });
        const listed = () => fetch(`http://127.0.0.1:${snapshotsPort}/replica/snapshots`);
        await until(() => listed().then(({ ok }) => ok, () => false));
        expect(await (await listed()).json()).toEqual({ snapshots: [] });

        await until(() => linesOf(join(own, "second")).some(({ event }) => event === "queries"), 20_000);
        const ask = async (path: string, sql: string) => {
          const init = { method: "POST", body: JSON.stringify({ sql }), unix: queries };
          return await fetch(`http://replica${path}`, init as RequestInit);
        };
        const refusal = async (sql: string) => (await (await ask("/query", sql)).json()).error.code;
        const said = await (await ask("/query", "SELECT hostname FROM hostnames ORDER BY 1")).text();
        expect(said).toContain('{"columns":["hostname"]}\n{"row":["a.test"]}\n');
        expect(await refusal("DELETE FROM main.hostnames")).toBe("query.forbidden");
        expect(await refusal("SELECT count(*) FROM quarantine")).toBe("query.forbidden");
        expect(await refusal(`VACUUM INTO '${join(own, "copy")}'`)).toBe("query.sql_invalid");
        expect(await refusal("SELECT 1; SELECT 2")).toBe("query.sql_invalid");
        expect(await refusal("SELECT abs(-9223372036854775808) FROM hostnames")).toBe("query.sql_invalid");
        expect(await refusal("SELECT zeroblob(2000000)")).toBe("query.result_too_large");
        const endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
        expect(await refusal(`${endless} SELECT count(*) FROM n`)).toBe("query.time_exceeded");
        const watch = (await ask("/subscribe", "SELECT key FROM hostnames")).body!.getReader();
        let seen = "";
        const untilSeen = async (what: string) => {
          while (!seen.includes(what)) seen += new TextDecoder().decode((await watch.read()).value);
        };
        await untilSeen("snapshot");
        await redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(hostnameEvent("e.test")));
        await untilSeen('"kind":"insert","id":5,"values":["e.test"]');
        await watch.cancel();
      } finally {
        second.kill("SIGTERM");
      }
      expect(await second.exited).toBe(0);
      const database = openBunDatabase(file, "readonly");
      const keys = database.prepare("SELECT key FROM hostnames ORDER BY key").all().map(({ key }) => key);
      database.close();
      expect(keys).toEqual(["a.test", "b.test", "c.test", "d.test", "e.test"]);
      for (const name of ["first", "first.log", "second", "second.log"]) {
        expect(readFileSync(join(own, name), "utf8")).not.toContain(new URL(server.urlOf("edge")).password);
      }
      redis.disconnect();
      await server.stop();
    }, 60_000);
  });
}

test("a replicator alone refuses a password on its command line, and does not repeat it", async () => {
  const child = Bun.spawn([
    process.execPath,
    program,
    "replica",
    "--redis",
    "redis://u:hunter2@127.0.0.1",
    "--file",
    "r",
  ], {
    ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  });
  const said = await new Response(child.stdout).text() + await new Response(child.stderr).text();
  expect(await child.exited).toBe(2);
  expect(said).toContain("--redis-password-file");
  expect(said).not.toContain("hunter2");
});

test("a replicator alone lists its options", async () => {
  const child = Bun.spawn([process.execPath, program, "replica", "--help"], {
    stdin: "ignore",
    stdout: "pipe",
  });
  expect(await new Response(child.stdout).text()).toContain("--redis-password-file");
  expect(await child.exited).toBe(0);
});

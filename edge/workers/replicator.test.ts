/** Workers with rows from Redis: one process follows the streams, the others read its file. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { startedMachine } from "../../control/contract/machine-row.fixture.ts";
import { rawBatch } from "../../control/contract/stream-entry.fixture.ts";
import { freePort } from "../../deploy/servers/child.ts";
import { startOwnRedis } from "../../deploy/servers/testbed.ts";
import { HOST_ID, idOf, RawClient, until } from "../edge.fixture.ts";
import { type Health, RUNTIMES } from "./workers.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-replicator-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const program = new URL("../main.ts", import.meta.url).pathname;

let seq = 0;
function event(owner: string, table: string, key: string, row: unknown): string {
  const version = { epoch: 1, seq: ++seq };
  return JSON.stringify({
    ...{ schema: 1, owner, table, key, version, deleted: row === null, row, published_ms: Date.now() },
  });
}

for (const runtime of ["bun", "deno"] as const) {
  describe(`the replicator on ${runtime}`, () => {
    if (!existsSync(RUNTIMES[runtime][0]!)) {
      return void test.skip(`skipped: there is no ${runtime} here`, () => {});
    }

    test("feeds every worker, also after it was killed and after all were replaced", async () => {
      const server = await startOwnRedis();
      const redis = new Redis(server.urlOf("admin"));
      const upstream = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
      const [port, adminPort] = [await freePort(), await freePort()];
      const own = mkdtempSync(join(folder, "edge-"));
      const config = {
        ...{ schema: 1, edge_id: "edge-1", region: "ams", regions: [], workers: 2, access_log: "off" },
        listeners: [{ address: "127.0.0.1", port, service_port: 80 }],
        admin: { address: "127.0.0.1", port: adminPort },
        rows: { from: "redis", redis_url: server.urlOf("edge"), replica_file: join(own, "replica.sqlite") },
      };
      writeFileSync(join(own, "config.json"), JSON.stringify(config), { mode: 0o600 });
      const app_id = idOf("app");
      const publishHost = (name: string, row: unknown = { hostname: name, app_id }) =>
        redis.xadd(GLOBAL_STREAM, "*", ...rawBatch(event("api", "hostnames", name, row)));
      const id = idOf("m", 14);
      const machine = startedMachine(upstream.port!, { id, app_id, host_id: HOST_ID });
      await publishHost("first.test");
      const worker = `worker:${HOST_ID}`;
      const machineEvent = event(worker, "machines", `${HOST_ID}/${id}`, machine);
      await redis.xadd(regionStream("ams"), "*", ...rawBatch(machineEvent));

      const said = Bun.file(join(own, "said"));
      const child = Bun.spawn([...RUNTIMES[runtime], program, "--config", join(own, "config.json")], {
        ...{ stdin: "ignore", stdout: said, stderr: said },
      });
      try {
        const admin = async (path: string) => {
          const client = await RawClient.open(adminPort);
          const text = await client.send(`GET ${path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n`)
            .end();
          client.close();
          return text.slice(text.indexOf("\r\n\r\n") + 4);
        };
        const health = async () => JSON.parse(await admin("/healthz")) as Health;
        const ask = async (host: string) => {
          const client = await RawClient.open(port);
          const text = await client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
            .end();
          client.close();
          return text.slice(9, 12);
        };
        /** Of many new connections, which the kernel spreads over the workers. */
        const statuses = async (host: string) =>
          new Set(await Promise.all(Array.from({ length: 24 }, () => ask(host))));
        const everywhere = (host: string, status: string) =>
          until(async () => {
            const found = await statuses(host);
            return found.size === 1 && found.has(status);
          }, 30_000);
        await until(() => health().then(({ status }) => status === "ok", () => false), 60_000);

        // They had caught up before they listened.
        expect(await statuses("first.test")).toEqual(new Set(["200"]));
        await publishHost("second.test");
        await everywhere("second.test", "200");
        await publishHost("second.test", null);
        await everywhere("second.test", "404");

        const pid = Number(/"replicator_pid":(\d+)/.exec(await said.text())![1]);
        process.kill(pid, "SIGKILL");
        await publishHost("third.test");
        await publishHost("first.test", null);
        await everywhere("third.test", "200");
        await everywhere("first.test", "404");

        const before = await health();
        child.kill("SIGHUP");
        await until(async () => {
          const { workers, retiring } = await health();
          const old = new Set(before.workers.map(({ worker }) => worker));
          return retiring === 0 && workers.length === 2 && workers.every(({ worker }) => !old.has(worker));
        }, 60_000);
        await publishHost("fourth.test");
        await everywhere("fourth.test", "200");
        expect(await statuses("third.test")).toEqual(new Set(["200"]));
        expect(JSON.parse(await admin("/replica"))).toMatchObject({
          ...{ from: "redis", connected: true },
          replicator: { restarts: { ended: 1, silent: 0, stalled: 0 } },
        });
        expect(await admin("/metrics")).toMatch(/godwit_replica_restarts\{.*reason="ended".*\} 1\n/);
        expect(readFileSync(join(own, "said"), "utf8")).not.toContain(new URL(server.urlOf("edge")).password);
      } finally {
        child.kill("SIGTERM");
        expect(await child.exited).toBe(0);
        redis.disconnect();
        await upstream.stop(true);
        await server.stop();
      }
    }, 120_000);
  });
}

/** The edge as a process: starts from its configuration file, drains on SIGTERM, says why it cannot start. */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { GLOBAL_STREAM, regionStream } from "../control/contract/events.ts";
import { startedMachine } from "../control/contract/machine-row.fixture.ts";
import { rawBatch } from "../control/contract/stream-entry.fixture.ts";
import { freePort } from "../deploy/servers/child.ts";
import { startOwnRedis } from "../deploy/servers/testbed.ts";
import { HOST_ID, idOf, RawClient, until } from "./edge.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-edge-main-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(config: unknown) {
  const path = join(folder, `${crypto.randomUUID()}.json`);
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "--config", path], {
    stdout: "ignore",
    stderr: Bun.file(join(folder, "stderr")),
  });
}

test("edge process routes, and on SIGTERM finishes what runs, refuses what is new and exits 0", async () => {
  const server = await startOwnRedis();
  const redis = new Redis(server.urlOf("admin"));
  let answer: (response: Response) => void = () => {};
  const upstream = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) =>
      request.url.endsWith("/slow") ? new Promise((resolve) => answer = resolve) : new Response("quick"),
  });
  const event = (table: string, owner: string, key: string, row: unknown) =>
    JSON.stringify({
      schema: 1,
      owner,
      table,
      key,
      version: { epoch: 1, seq: 1 },
      deleted: false,
      row,
      published_ms: 1,
    });
  const app_id = idOf("main");
  const id = idOf("m", 14);
  const machine = startedMachine(upstream.port!, { id, app_id, host_id: HOST_ID });
  await redis.xadd(
    GLOBAL_STREAM,
    "*",
    ...rawBatch(event("hostnames", "api", "main.test", { hostname: "main.test", app_id })),
  );
  await redis.xadd(
    regionStream("ams"),
    "*",
    ...rawBatch(event("machines", `worker:${HOST_ID}`, `${HOST_ID}/${id}`, machine)),
  );
  const [port, admin] = [await freePort(), await freePort()];
  const edge = start({
    schema: 1,
    edge_id: "edge-1",
    region: "ams",
    regions: [],
    listeners: [{ address: "127.0.0.1", port, service_port: 80 }],
    admin: { address: "127.0.0.1", port: admin },
    rows: { from: "redis", redis_url: server.urlOf("edge"), replica_file: join(folder, "replica.sqlite") },
    access_log: join(folder, "access.log"),
  });
  await until(() => fetch(`http://127.0.0.1:${admin}/healthz`).then((r) => r.ok, () => false), 15_000);
  // It has read its routes before it listened: no waiting here.
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { headers: { host: "main.test" } });
  expect(await (await get("/")).text()).toBe("quick");

  const idle = await RawClient.open(port);
  const slow = get("/slow");
  await until(() => answer.name !== "answer");
  edge.kill("SIGTERM");
  await idle.end();
  await until(() => RawClient.open(port).then((client) => (client.close(), false), () => true));
  answer(new Response("finished"));
  expect(await (await slow).text()).toBe("finished");
  expect(await edge.exited).toBe(0);
  expect(readFileSync(join(folder, "access.log"), "utf8").trim().split("\n").length).toBe(2);
  redis.disconnect();
  await upstream.stop(true);
  await server.stop();
}, 30_000);

test("edge process says what is wrong with its configuration, and shows no password of it", async () => {
  const edge = start({ schema: 1, redis_url: "redis://edge:secret-word@127.0.0.1:1/0" });
  expect(await edge.exited).toBe(1);
  const said = readFileSync(join(folder, "stderr"), "utf8");
  expect(said).toContain("edge.config_invalid");
  expect(said).toContain("edge_id");
  expect(said).not.toContain("secret-word");
}, 15_000);

test("edge by itself stands in front of the upstreams that its command line names", async () => {
  const upstream = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => new Response(`${request.headers.get("fly-region")} ${new URL(request.url).pathname}`),
  });
  const port = await freePort();
  const edge = Bun.spawn([
    process.execPath,
    join(import.meta.dir, "main.ts"),
    ...["--from", `127.0.0.1:${port}`, "--to", `127.0.0.1:${upstream.port}`],
  ], { stdout: "pipe", stderr: Bun.file(join(folder, "stderr")) });
  const ask = () => fetch(`http://127.0.0.1:${port}/path`).then((r) => r.text(), () => "");
  await until(async () => await ask() === "loc /path", 15_000);
  edge.kill("SIGTERM");
  expect(await edge.exited).toBe(0);
  const [line] = (await new Response(edge.stdout).text()).split("\n");
  expect(JSON.parse(line!)).toMatchObject({ status: 200, host: "127.0.0.1", target: "/path" });
  await upstream.stop(true);
}, 30_000);

test("edge opens its access log anew on SIGHUP, and goes on", async () => {
  const upstream = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
  const port = await freePort();
  const file = join(folder, "rotated.log");
  const edge = Bun.spawn([
    process.execPath,
    join(import.meta.dir, "main.ts"),
    ...["--from", `127.0.0.1:${port}`, "--to", `127.0.0.1:${upstream.port}`, "--access-log", file],
  ], { stdout: "ignore", stderr: Bun.file(join(folder, "stderr")) });
  const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).then((r) => r.text(), () => "");
  await until(async () => await ask("/before") === "ok", 15_000);
  const targets = (name: string) =>
    existsSync(name)
      ? readFileSync(name, "utf8").split("\n").filter((line) => line !== "").map((line) =>
        JSON.parse(line).target
      )
      : [];
  await until(() => targets(file).includes("/before"));
  renameSync(file, `${file}.1`);
  edge.kill("SIGHUP");
  await until(() => existsSync(file));
  await ask("/after");
  await until(() => targets(file).includes("/after"));
  expect(targets(`${file}.1`)).not.toContain("/after");
  edge.kill("SIGTERM");
  expect(await edge.exited).toBe(0);
  await upstream.stop(true);
}, 30_000);

test("edge with a wrong command line says what is wrong and exits 2", async () => {
  const edge = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "--from", "nowhere"], {
    stdout: "ignore",
    stderr: "pipe",
  });
  expect(await edge.exited).toBe(2);
  expect(await new Response(edge.stderr).text()).toBe(
    "Cannot start an edge: --from nowhere is not ADDRESS:PORT\n  `edge/main.ts --help` lists the options.\n",
  );
}, 30_000);

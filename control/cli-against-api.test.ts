/** Commands of the CLI against a real API in this process, as a user runs them. Not in cli/, which imports no server. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { resolve } from "node:path";
import { Redis } from "ioredis";
import { logStream } from "./contract/events.ts";
import { TestControl } from "./release/control.fixture.ts";
import { appByName } from "./store/apps.ts";
import { EXIT } from "./cli/exit-code.ts";

let control: TestControl;
let server: Bun.Server<undefined>;
beforeAll(async () => {
  control = await TestControl.start({ ownRedis: true });
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const { method, headers, signal } = request;
      const body = method === "POST" ? { body: await request.text() } : {};
      return await control.api.request(pathname + search, { method, headers, signal, ...body }, null);
    },
  });
}, 60_000);
afterAll(async () => {
  await server.stop(true);
  await control.close();
});

function godwit(...args: string[]) {
  return Bun.spawn([process.execPath, resolve(import.meta.dir, "cli/main.ts"), ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: {
      PATH: process.env.PATH ?? "",
      GODWIT_HOME: "/nonexistent",
      GODWIT_API_URL: server.url.href,
      GODWIT_TOKEN: control.api.token,
    },
  });
}

test("godwit apps destroy returns when the app is gone, and its name free", async () => {
  await control.api.createApp("gone");
  await control.deployed("gone", "test/app:1");
  const run = godwit("apps", "destroy", "gone", "--yes", "--json");
  expect(JSON.parse(await new Response(run.stdout).text())).toEqual({
    app: { name: "gone", destroyed: true },
  });
  expect(await run.exited).toBe(EXIT.done);
  await control.api.createApp("gone");
}, 30_000);

test("godwit logs -f ends with 6 when the stream does, because it has no end of its own", async () => {
  await control.api.createApp("talker");
  const { id } = (await control.api.store.read((sql) => appByName(sql, "talker")))!;
  const redis = new Redis(control.api.adminRedisUrl);
  const line = { machine: "aaaaaaaaaaaaaa", region: "dev", stream: "stdout", at_ms: "1", line: "hello" };
  await redis.xadd(logStream(id), "*", ...Object.entries(line).flat());
  redis.disconnect();
  const run = godwit("logs", "-a", "talker", "-f", "--json");
  const reader = run.stdout.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader.read()).value).toContain('"line":"hello"');
  await control.api.stopRedis!();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) rest += read.value;
  const [last, error] = rest.trim().split("\n").map((text) => JSON.parse(text));
  expect(last.line).toContain("logs end here");
  expect(error.error.code).toBe("cli.unreachable");
  expect(await run.exited).toBe(EXIT.unreachable);
}, 30_000);

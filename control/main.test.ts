/** The process as an operator meets it: its command line, its signals, its refusals. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../deploy/servers/child.ts";
import { testDatabase, testRedis } from "../deploy/servers/testbed.ts";
import { FixtureWorker } from "./place/worker.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-control-"));
const nodeToken = "node-token-of-the-tests-0123456789abcdef";
let worker: FixtureWorker;
let configFile: string;
let url: string;

async function writeConfig(name: string, change: Record<string, unknown> = {}): Promise<string> {
  const port = await freePort();
  const config = {
    schema: 1,
    listen: { address: "127.0.0.1", port },
    database_url: await testDatabase(),
    redis_url: await testRedis("api"),
    token_key_file: join(folder, name, "token-key.pem"),
    publisher_key_file: join(folder, name, "publisher-key.pem"),
    node_token: nodeToken,
    hostname_suffix: "localhost",
    app_url_template: "http://{app}.localhost:8080/",
    ...change,
  };
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  url = `http://127.0.0.1:${port}`;
  return file;
}

function run(script: string, file: string) {
  return Bun.spawn([process.execPath, join(import.meta.dir, script), "--config", file], {
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Resolves once the process has said that it serves. */
async function serves(child: ReturnType<typeof run>): Promise<void> {
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  for (let text = ""; !text.includes("control serves");) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`ended before it served: ${text}${await new Response(child.stderr).text()}`);
    text += decoder.decode(value);
  }
  // Its pipe must not fill up.
  (async () => {
    while (!(await reader.read()).done);
  })();
}

async function issueToken(file: string): Promise<string> {
  const child = run("access/issue.ts", file);
  const [out, error] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(error).toBe("");
  return JSON.parse(out).token;
}

async function ask(token: string, query: string, variables: Record<string, unknown> = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const answer = await response.json() as { data: Record<string, never>; errors?: unknown };
  if (answer.errors !== undefined) throw new Error(JSON.stringify(answer.errors));
  // deno-lint-ignore no-explicit-any -- a test looks into what it asked for
  return answer.data as any;
}

async function register(): Promise<void> {
  const response = await fetch(`${url}/internal/v1/hosts/${worker.host.id}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${nodeToken}`, "content-type": "application/json" },
    body: JSON.stringify({ host: worker.host, url: worker.url }),
  });
  expect(response.status).toBe(204);
}

beforeAll(async () => {
  worker = new FixtureWorker();
  configFile = await writeConfig("main");
}, 60_000);
afterAll(async () => {
  await worker.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("control", () => {
  test("issue.ts makes the key, the organisation and a token before the API has ever run", async () => {
    const token = await issueToken(configFile);
    expect(token.split(".")).toHaveLength(3);
    const key = JSON.parse(readFileSync(configFile, "utf8")).token_key_file;
    expect(statSync(key).mode & 0o777).toBe(0o600);
  }, 30_000);

  test("killed with -9 amid a deploy, the next process finishes it with the same machine", async () => {
    const token = await issueToken(configFile);
    const first = run("main.ts", configFile);
    await serves(first);
    await register();
    await ask(token, `mutation { createApp(input: { name: "kept" }) { app { id } } }`);
    // The worker holds the start until control is dead.
    const started = Promise.withResolvers<void>();
    const dead = Promise.withResolvers<void>();
    worker.before = async (call) => {
      if (!call.endsWith("/start")) return;
      started.resolve();
      await dead.promise;
    };
    const data = await ask(
      token,
      `mutation { deployImage(input: { app: "kept", image: "test/app:1" }) { release { rowId } } }`,
    );
    await started.promise;
    first.kill("SIGKILL");
    await first.exited;
    dead.resolve();
    worker.before = () => {};
    const before = [...worker.machines.keys()];
    expect(before).toHaveLength(1);

    const second = run("main.ts", configFile);
    await serves(second);
    expect(statSync(join(folder, "main", "publisher-key.pem")).mode & 0o777).toBe(0o600);
    const release = await untilEnded(token, data.deployImage.release.rowId);
    expect(release).toEqual({ status: "SUCCEEDED", error: null });
    expect([...worker.machines.keys()]).toEqual(before);
    second.kill("SIGTERM");
    expect(await second.exited).toBe(0);
  }, 60_000);

  test("refuses in words when Postgres or Redis cannot be reached, after a while", async () => {
    const port = await freePort();
    const files = [
      await writeConfig("no-postgres", { database_url: `postgres://godwit:hidden@127.0.0.1:${port}/godwit` }),
      await writeConfig("no-redis", { redis_url: `redis://api:hidden@127.0.0.1:${port}/0` }),
    ];
    const ends = await Promise.all(files.map(async (file) => {
      const child = run("main.ts", file);
      return { error: await new Response(child.stderr).text(), status: await child.exited };
    }));
    expect(ends.map((end) => end.status)).toEqual([1, 1]);
    expect(ends[0]!.error).toContain("Cannot reach Postgres");
    expect(ends[1]!.error).toContain(`Cannot reach Redis at 127.0.0.1:${port}`);
    for (const { error } of ends) expect(error).not.toContain("hidden");
  }, 60_000);

  test("refuses a configuration that is not one, without quoting it", async () => {
    const file = join(folder, "bad.json");
    writeFileSync(file, `{"schema": 1, "node_token": "short-secret"}`);
    const child = run("main.ts", file);
    const error = await new Response(child.stderr).text();
    expect(await child.exited).toBe(1);
    expect(error).toContain("node_token");
    expect(error).not.toContain("short-secret");
  }, 30_000);
});

async function untilEnded(token: string, id: string): Promise<{ status: string; error: unknown }> {
  const query = `query ($id: String!) { release(id: $id) { status error { code message } } }`;
  for (;;) {
    const { release } = await ask(token, query, { id });
    if (release.status === "SUCCEEDED" || release.status === "FAILED") return release;
    await Bun.sleep(50);
  }
}

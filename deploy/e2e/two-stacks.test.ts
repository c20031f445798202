/** Two stacks on one machine, without a hypervisor so that it is quick: one with the longest home path that must work. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SnapshotFolder, snapshotFolderOf } from "../../edge/snapshot/folder.ts";
import { FIRST_MS_MAX } from "../../edge/snapshot/schedule.ts";
import { freePort, newPassword } from "../servers/child.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRedis } from "../servers/redis.ts";
import { homeAt } from "../stack/home.ts";
import { describeLeftovers, findLeftovers } from "../stack/leftovers.ts";
import { snapshotFilesOf } from "../stack/process-files.ts";
import { Stack } from "./stack.ts";

const STEP_MS = 300_000;
const HOME_PATH_CHARACTERS = 120;
const SNAPSHOT_MS = FIRST_MS_MAX + 30_000;
const HEAL_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), "godwit-two-"));
const longHome = join(folder, "h".repeat(HOME_PATH_CHARACTERS - folder.length - 1));
const one = new Stack();
const two = new Stack(longHome);

afterAll(async () => {
  await one.downAndPurge();
  await two.downAndPurge();
  rmSync(folder, { recursive: true, force: true });
}, STEP_MS);

async function leftovers(stack: Stack): Promise<string[]> {
  return describeLeftovers(await findLeftovers(homeAt(stack.home)));
}

describe("two stacks on one machine", () => {
  test(
    "each answers with its own machine, and says loudly that runc does not isolate like a VM",
    async () => {
      expect(longHome.length).toBe(HOME_PATH_CHARACTERS);
      mkdirSync(longHome);
      await one.up("--vmm", "runc");
      await two.up("--vmm", "runc");
      const facts = await Promise.all(
        [one, two].map(async (stack) => await (await stack.get("example")).json()),
      );
      expect(facts[0].machine).not.toBe(facts[1].machine);
      expect(facts[0].pid1).toContain("vm-init");
      expect(readFileSync(join(one.home, "logs/worker.log"), "utf8")).toContain("CONTAINERS, NOT VMs");
    },
    STEP_MS,
  );

  test("a token of one is refused by the other", async () => {
    expect(two.graphql("{ viewer { subject } }", {}, one.answer.token)).rejects.toThrow(
      "access.token_foreign",
    );
  }, STEP_MS);

  test("logs of a machine reach the CLI", async () => {
    const { stdout } = await one.godwit("logs", "-a", "example", "--json");
    const lines = stdout.trim().split("\n").map((line) =>
      JSON.parse(line) as { line: string; machine: string }
    );
    expect(lines.length).toBeGreaterThan(0);
    expect(lines[0]!.machine).toMatch(/^[0-9a-f]{14}$/);
  }, STEP_MS);

  test("down of one leaves the other alone", async () => {
    expect((await one.command("down")).status).toBe(0);
    expect(await leftovers(one)).toEqual([]);
    expect((await two.get("example")).status).toBe(200);
  }, STEP_MS);

  test("up on a taken port says which and whose, and starts nothing", async () => {
    const port = Number(new URL(one.answer.app_url).port);
    const squatter = createServer().listen(port, "127.0.0.1");
    try {
      const run = await one.command("up", "--detach", "--json");
      expect(run.status).not.toBe(0);
      expect(JSON.parse(run.stdout.trim().split("\n").at(-1)!)).toMatchObject({
        error: { message: expect.stringContaining(String(port)) },
      });
      expect(await leftovers(one)).toEqual([]);
      expect(existsSync(homeAt(one.home).runFolder)).toBe(false);
    } finally {
      squatter.close();
    }
  }, STEP_MS);

  test("up with a Postgres or a Redis that is not there says so, and leaves nothing running", async () => {
    const away = {
      GODWIT_DATABASE_URL: "postgres://godwit:secret-word@127.0.0.1:1/godwit",
      GODWIT_REDIS_URL: "redis://api:secret-word@127.0.0.1:1/0",
    };
    // Each waits for its server for a while: side by side, from homes of their own.
    const other = new Stack();
    try {
      await Promise.all(
        Object.entries(away).map(async ([name, url], at) => {
          const stack = [one, other][at]!;
          stack.env = { [name]: url };
          const run = await stack.command("up", "--detach", "--json", "--port-base", String(stack.portBase));
          expect({ name, failed: run.status !== 0 }).toEqual({ name, failed: true });
          expect(run.stdout + run.stderr).toContain("127.0.0.1:1");
          expect(run.stdout + run.stderr).not.toContain("secret-word");
          expect(await leftovers(stack)).toEqual([]);
        }),
      );
    } finally {
      one.env = {};
      await other.downAndPurge();
    }
  }, STEP_MS);

  test("up uses the Postgres and the Redis that the environment names", async () => {
    const three = new Stack();
    const servers = join(folder, "servers");
    mkdirSync(servers);
    const postgres = await startPostgres({
      folder: join(servers, "postgres"),
      port: await freePort(),
      password: newPassword(),
      logFile: join(servers, "postgres.log"),
      durable: false,
    });
    const redis = await startRedis({
      folder: join(servers, "redis"),
      port: await freePort(),
      passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
      logFile: join(servers, "redis.log"),
      durable: false,
    });
    try {
      three.env = { GODWIT_DATABASE_URL: postgres.url, GODWIT_REDIS_URL: redis.urlOf("admin") };
      await three.up("--vmm", "runc");
      expect((await three.get("example")).status).toBe(200);
      expect(existsSync(join(three.home, "postgres"))).toBe(false);
      expect(existsSync(join(three.home, "redis"))).toBe(false);
    } finally {
      await three.downAndPurge();
      await Promise.all([postgres.stop(), redis.stop()]);
    }
  }, STEP_MS);

  test("an edge hears its membership agent, and begins anew from the replica beside control", async () => {
    const { edge_admin_url } = JSON.parse(readFileSync(join(two.home, "cli.json"), "utf8"));
    const page = async (path: string) => await (await fetch(`${edge_admin_url}${path}`)).text();
    expect(await page("/metrics")).toContain("\ngodwit_edge_membership_connected 1\n");
    // Due within a minute of the start: by now that has passed.
    const snapshots = snapshotFilesOf(homeAt(two.home));
    await two.until(
      "there is a snapshot",
      () => Promise.resolve(new SnapshotFolder(snapshotFolderOf(snapshots.replica)).list()),
      (list) => list.length > 0,
      SNAPSHOT_MS,
    );
    for (const name of readdirSync(join(two.home, "edge"))) {
      if (name.startsWith("replica.sqlite")) rmSync(join(two.home, "edge", name), { recursive: true });
    }
    await two.until(
      "the edge begins anew",
      async () => JSON.parse(await page("/replica")).last_bootstrap,
      (bootstrap) => bootstrap?.from.startsWith("http://127.0.0.1:") === true,
      HEAL_MS,
    );
    expect((await two.get("example")).status).toBe(200);
  }, STEP_MS);

  test("doctor says what it looked at, in JSON too", async () => {
    const run = await two.command("doctor", "--json");
    expect(JSON.parse(run.stdout.trim().split("\n").at(-1)!)).toBeTruthy();
    expect((await two.command("doctor")).stdout).toMatch(/disk/i);
  }, STEP_MS);
});

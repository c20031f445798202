/** 10,000 connections, or as many as this process may have files, each with requests before and after a rest. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { RawClient, until } from "../edge.fixture.ts";
import { get, HOST, type Hostile, startHostile } from "./hostile.fixture.ts";

const WANTED = 10_000;
/** For Redis, the origin, and what a test process has open anyway. */
const OTHER_FILES = 1_000;
const BYTES_EACH_MAX = 16_384;
const WAIT_MS_MAX = 120_000;

const filesMax = Number(
  /Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 1_024,
);
const count = Math.min(WANTED, filesMax - OTHER_FILES);
let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile();
}, 30_000);
afterAll(() => hostile.stop());

test(`${count} connections are served, cost little each, and leave nothing behind`, async () => {
  const { edge } = hostile.edge;
  const other = await RawClient.open(hostile.edge.port);
  const residentBytes = () => {
    Bun.gc(true);
    return process.memoryUsage.rss();
  };
  const before = residentBytes();
  const script = resolve(import.meta.dir, "many-connections.client.ts");
  const child = Bun.spawn([process.execPath, script, String(hostile.edge.port), String(count), HOST], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  let said = "";
  void (async () => {
    for await (const bytes of child.stdout) said += new TextDecoder().decode(bytes);
  })();
  await until(() => edge.relay.clients.size > count / 2, WAIT_MS_MAX);
  await other.send(get("/while-they-come")).has("saw GET /while-they-come with 0");
  await until(() => said !== "" || child.exitCode !== null, WAIT_MS_MAX);
  expect(said).toBe(`${count}\n`);
  expect(edge.relay.clients.size).toBe(count + 1);
  const each = (residentBytes() - before) / count;
  console.log(`${count} connections at rest: ${Math.round(each)} bytes each, of edge and test`);
  expect(each).toBeLessThan(BYTES_EACH_MAX);
  await other.send(get("/while-they-rest")).has("saw GET /while-they-rest with 0");
  child.stdin.write("again\n");
  child.stdin.flush();
  await until(() => said.split("\n").length === 3 || child.exitCode !== null, WAIT_MS_MAX);
  expect(said).toBe(`${count}\n${count}\n`);
  child.stdin.end();
  await child.exited;
  await until(() => edge.relay.clients.size === 1, WAIT_MS_MAX);
  await other.send(get("/after")).has("saw GET /after with 0");
  expect(edge.metrics.faults).toBe(0);
  other.close();
}, 600_000);

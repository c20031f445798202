import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Redis } from "ioredis";
import { testRedis } from "../../deploy/servers/testbed.ts";
import { logStream } from "../contract/events.ts";
import { appByName } from "../store/apps.ts";
import { TestApi } from "./api.fixture.ts";

let api: TestApi;
let worker: Redis;
let stream: string;
const machines = ["aaaaaaaaaaaaaa", "bbbbbbbbbbbbbb"];
beforeAll(async () => {
  api = await TestApi.start();
  await api.createApp("talker");
  stream = logStream((await api.store.read((sql) => appByName(sql, "talker")))!.id);
  worker = new Redis(await testRedis("worker"));
  for (let n = 0; n < 1_200; n++) await write(n);
}, 60_000);
afterAll(async () => {
  worker.disconnect();
  await api.close();
});

async function write(n: number): Promise<void> {
  const fields = { machine: machines[n % 2]!, region: "dev", stream: "stdout", at_ms: n, line: `line ${n}` };
  await worker.xadd(stream, "*", ...Object.entries(fields).flat().map(String));
}

const linesOf = (text: string) => text.split("\n").filter((l) => l !== "").map((l) => JSON.parse(l).line);

describe("GET /v1/apps/NAME/logs", () => {
  test("answers the last lines, oldest first", async () => {
    const response = await api.request("/v1/apps/talker/logs?tail=3");
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    const text = await response.text();
    expect(linesOf(text)).toEqual(["line 1197", "line 1198", "line 1199"]);
    expect(JSON.parse(text.split("\n")[0]!)).toEqual({
      machine: machines[1],
      region: "dev",
      stream: "stdout",
      at_ms: 1_197,
      line: "line 1197",
    });
    expect(linesOf(await (await api.request("/v1/apps/talker/logs")).text())).toHaveLength(100);
    expect(await (await api.request("/v1/apps/talker/logs?tail=0")).text()).toBe("");
  });

  test("answers the last lines of one machine, from as far back as it takes", async () => {
    const text = await (await api.request(`/v1/apps/talker/logs?tail=550&machine=${machines[0]}`)).text();
    const lines = linesOf(text);
    expect(lines).toHaveLength(550);
    expect([lines[0], lines.at(-1)]).toEqual(["line 100", "line 1198"]);
  });

  test("follows live, without a line lost between the tail and the first live one", async () => {
    const abort = new AbortController();
    const response = await api.request("/v1/apps/talker/logs?tail=1&follow=1", { signal: abort.signal });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    await write(1_200);
    await write(1_201);
    while (!text.includes("line 1201")) text += (await reader.read()).value!;
    expect(linesOf(text)).toEqual(["line 1199", "line 1200", "line 1201"]);
    await reader.cancel();
    abort.abort();
    while ((await api.parts.metrics.logFollowers.get()).values[0]!.value > 0) await Bun.sleep(5);
  }, 30_000);

  test("keeps no follower for a client that left before it read, nor for HEAD", async () => {
    const followers = async () => (await api.parts.metrics.logFollowers.get()).values[0]!.value;
    const left = await api.request("/v1/apps/talker/logs?tail=1&follow=1");
    expect(await followers()).toBe(1);
    await left.body!.cancel();
    expect(await followers()).toBe(0);
    expect((await api.request("/v1/apps/talker/logs?follow=1", { method: "HEAD" })).status).toBe(200);
    expect(await followers()).toBe(0);
    const gone = new AbortController();
    await api.request("/v1/apps/talker/logs?tail=1&follow=1", { signal: gone.signal });
    gone.abort();
    expect(await followers()).toBe(0);
  });

  test("refuses what it cannot do", async () => {
    for (const query of ["tail=-1", "tail=many", "follow=maybe", "machine=x"]) {
      const response = await api.request(`/v1/apps/talker/logs?${query}`);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: "api.log_query_invalid" } });
    }
    expect((await api.request("/v1/apps/nobody/logs")).status).toBe(404);
  });
});

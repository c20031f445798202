/** The program on both runtimes: killed at any moment it goes on where it was, and it tells how it is. */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import { until } from "../edge.fixture.ts";
import { Cleanups } from "../replica/replica.fixture.ts";
import { RUNTIMES } from "../workers/workers.fixture.ts";
import { entriesOf, SetBackRedis, untilSame, WAIT_MS } from "./relay.fixture.ts";

const program = new URL("../main.ts", import.meta.url).pathname;
const AMS = regionStream("ams");
const KILLS = 6;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

function withoutPassword(url: string, passwordFile: string): string {
  const at = new URL(url);
  writeFileSync(passwordFile, at.password, { mode: 0o600 });
  at.password = "";
  return at.href;
}

for (const runtime of ["bun", "deno"] as const) {
  describe(`a stream relay's process on ${runtime}`, () => {
    if (!existsSync(RUNTIMES[runtime][0]!)) {
      return void test.skip(`skipped: there is no ${runtime} here`, () => {});
    }

    test("killed at any moment loses nothing, repeats nothing and reorders nothing", async () => {
      const folder = cleanups.folder();
      const [upstream, regional] = [await SetBackRedis.start(cleanups), await SetBackRedis.start(cleanups)];
      const [fromFile, toFile] = [join(folder, "from"), join(folder, "to")];
      const from = withoutPassword(upstream.edgeUrl, fromFile),
        to = withoutPassword(regional.relayUrl, toFile);
      const [said, logged, socket] = [join(folder, "said"), join(folder, "log"), join(folder, "admin.sock")];
      const start = () =>
        Bun.spawn([
          ...RUNTIMES[runtime],
          ...[program, "relay-stream", "--from", from, "--from-password-file", fromFile, "--to", to],
          ...["--to-password-file", toFile, "--admin", socket, "--json"],
        ], { stdin: "ignore", stdout: Bun.file(said), stderr: Bun.file(logged) });

      let loading = true, appended = 0;
      const load = (async () => {
        while (loading) {
          const pipeline = upstream.admin.pipeline();
          for (const stream of [GLOBAL_STREAM, AMS]) {
            pipeline.xadd(stream, "*", "owner", "api", "batch", `${++appended} ${"x".repeat(200)}`);
          }
          await pipeline.exec();
          // What all of this appends is compared at the end.
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      })();
      try {
        for (let n = 0; n < KILLS; n++) {
          const before = await regional.admin.xlen(GLOBAL_STREAM);
          const child = start();
          // In the midst of it: it has written, and there is more.
          await until(async () => await regional.admin.xlen(GLOBAL_STREAM) > before, WAIT_MS);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
          child.kill("SIGKILL");
          await child.exited;
        }
      } finally {
        loading = false;
        await load;
      }
      const last = start();
      try {
        await untilSame(upstream.admin, regional.admin, GLOBAL_STREAM, AMS);
        const entries = (await entriesOf(regional.admin, GLOBAL_STREAM)).length;
        expect(entries).toBe(appended / 2);

        await until(() => existsSync(said) && readFileSync(said, "utf8").includes(`"caught_up"`), WAIT_MS);
        const ask = async (path: string) =>
          await (await fetch(`http://admin${path}`, { unix: socket })).text();
        expect(JSON.parse(await ask("/healthz"))).toMatchObject({ status: "ok" });
        const newest = (await entriesOf(upstream.admin, AMS)).at(-1)!.id;
        expect(JSON.parse(await ask("/relay"))).toMatchObject({
          ...{ connected: true, begun_anew: { no_copy: 0, diverged: 0, trimmed: 0, copy_cut: 0 } },
          streams: { [AMS]: { position: newest, anchored: true } },
        });
        const metrics = readExposition(await ask("/metrics"));
        expect(valueOf(metrics, "godwit_stream_relay_connected")).toBe(1);
        expect(valueOf(metrics, "godwit_stream_relay_position_ms", { stream: AMS })).toBe(parseInt(newest));
      } finally {
        last.kill("SIGTERM");
      }
      expect(await last.exited).toBe(0);
      expect(existsSync(socket)).toBe(false);
      for (const file of [said, logged]) {
        const text = readFileSync(file, "utf8");
        expect(text).not.toContain(readFileSync(fromFile, "utf8"));
        expect(text).not.toContain(readFileSync(toFile, "utf8"));
      }
    }, 120_000);
  });
}

test("a stream relay refuses a password on its command line, and does not repeat it", async () => {
  const child = Bun.spawn([
    ...[process.execPath, program, "relay-stream", "--from", "redis://a@127.0.0.1:1"],
    ...["--to", "redis+sentinel://a@127.0.0.1:2/fleet?sentinel_password=hunter2"],
  ], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const said = await new Response(child.stdout).text() + await new Response(child.stderr).text();
  expect(await child.exited).toBe(2);
  expect(said).toContain("--to-sentinel-password-file");
  expect(said).not.toContain("hunter2");
});

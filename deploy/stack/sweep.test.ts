import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, newPassword } from "../servers/child.ts";
import { startRedis } from "../servers/redis.ts";
import { takeDown } from "./down.ts";
import { homeAt } from "./home.ts";
import { describeLeftovers, findLeftovers } from "./leftovers.ts";
import { Steps } from "./steps.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-sweep-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function must(...argv: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

describe("takeDown()", () => {
  test("removes planted leftovers of its stack, and nothing of another's", async () => {
    if (process.getuid?.() !== 0) return console.log("skipped: links and mounts need root");
    const home = homeAt(join(folder, "mine"));
    const other = homeAt(join(folder, "mine-too"));
    for (const h of [home, other]) mkdirSync(join(h.folder, "mounted"), { recursive: true });
    const planted: Bun.Subprocess[] = [];
    try {
      for (const h of [home, other]) {
        must("ip", "tuntap", "add", "dev", `${h.prefix}t1`, "mode", "tap");
        must("nft", "add", "table", "inet", h.prefix);
        must("ip", "netns", "add", `${h.prefix}-x`);
        must("mount", "-t", "tmpfs", "tmpfs", join(h.folder, "mounted"));
        const script = join(h.folder, "server.ts");
        writeFileSync(
          script,
          "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000);",
        );
        const child = Bun.spawn([process.execPath, script], { stdout: "pipe" });
        planted.push(child);
        await child.stdout.getReader().read(); // SIGTERM is ignored from here on
      }
      // Redis writes over its arguments and is another program's file: only its folder tells whose it is.
      const redis = await startRedis({
        folder: join(home.folder, "redis"),
        port: await freePort(),
        passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
        logFile: join(home.folder, "redis.log"),
      });
      const before = describeLeftovers(await findLeftovers(home));
      expect(before.length).toBeGreaterThanOrEqual(6);
      const theirs = describeLeftovers(await findLeftovers(other));

      const answer = await takeDown(home, new Steps({ write: () => {} }));
      expect(answer.was_running).toBe(false);
      const kinds = answer.swept.map((name) => name.split(" ")[0]);
      expect(kinds).toEqual(expect.arrayContaining(["process", "network", "mount"]));
      expect(describeLeftovers(await findLeftovers(home))).toEqual([]);
      await redis.exited;
      expect(describeLeftovers(await findLeftovers(other))).toEqual(theirs);
      expect(planted[1]!.exitCode).toBeNull();
    } finally {
      await takeDown(other, new Steps({ write: () => {} }));
      await takeDown(home, new Steps({ write: () => {} }));
      for (const child of planted) child.kill("SIGKILL");
    }
  }, 60_000);
});

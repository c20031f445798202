/** The agent as a process: says why it cannot start, shows what it knows, leaves when asked. */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../deploy/servers/child.ts";
import { FeedReader } from "./feed.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-member-main-"));
const secretFile = join(folder, "secret");
writeFileSync(secretFile, "s".repeat(40), { mode: 0o600 });
afterAll(() => rmSync(folder, { recursive: true }));

async function spawn(fields: object) {
  const path = join(folder, `${crypto.randomUUID()}.json`);
  const config = {
    schema: 1,
    host_id: "one",
    listen: { address: "127.0.0.1", port: await freePort() },
    seeds: [],
    secret_files: [secretFile],
    socket: join(folder, "one.sock"),
    admin: null,
    ...fields,
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "--config", path], {
    stdout: "pipe",
  });
}
async function endOf(child: Awaited<ReturnType<typeof spawn>>): Promise<{ code: number; said: string }> {
  const said = await new Response(child.stdout).text();
  return { code: await child.exited, said };
}

describe("membership agent", () => {
  test("runs, shows members and metrics, and leaves with 0", async () => {
    const port = await freePort();
    const child = await spawn({ admin: { address: "127.0.0.1", port } });
    const feed = await FeedReader.open(join(folder, "one.sock"));
    await feed.until(({ one }) => one === "alive");
    const page = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
    expect(JSON.parse(await page("/members"))).toMatchObject({
      host_id: "one",
      health_score: 0,
      members: [{ host_id: "one", state: "alive" }],
    });
    const metrics = await page("/metrics");
    expect(metrics).toContain('godwit_membership_members{state="alive"} 1');
    expect(metrics).toContain('godwit_membership_dropped_count{reason="unauthenticated"} 0');
    child.kill("SIGTERM");
    expect((await endOf(child)).code).toBe(0);
    feed.close();
  }, 20_000);

  test("refuses a configuration of another form with 2", async () => {
    const { code, said } = await endOf(await spawn({ host_id: "Not A Host" }));
    expect([code, said.includes("host_id")]).toEqual([2, true]);
    const every = await endOf(await spawn({ listen: { address: "0.0.0.0", port: 7_946 } }));
    expect([every.code, every.said.includes("advertise")]).toEqual([2, true]);
  }, 20_000);

  test("refuses a secret that others may read, or that is short, with 1", async () => {
    const open = join(folder, "open"), short = join(folder, "short");
    writeFileSync(open, "s".repeat(40));
    chmodSync(open, 0o644);
    writeFileSync(short, "s", { mode: 0o600 });
    for (
      const [file, why] of [[open, "others may read it"], [short, "too short"], [
        join(folder, "none"),
        "ENOENT",
      ]]
    ) {
      const { code, said } = await endOf(await spawn({ secret_files: [file] }));
      expect([code, said.includes("membership.secret_unusable"), said.includes(why!)]).toEqual([
        1,
        true,
        true,
      ]);
    }
  }, 20_000);
});

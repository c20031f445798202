/** The command as a user runs it. What needs a running stack is in deploy/e2e. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { EXIT } from "./exit-code.ts";

const home = mkdtempSync(join(tmpdir(), "godwit-cli-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

async function godwit(args: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH ?? "", HOME: home, GODWIT_HOME: home, ...env },
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}

describe("godwit", () => {
  test("tells its version, as text and as JSON", async () => {
    expect((await godwit(["version"])).stdout).toBe(`godwit ${manifest.version}\n`);
    expect(JSON.parse((await godwit(["version", "--json"])).stdout)).toEqual({ version: manifest.version });
  });

  test("shows help with its exit codes, and loads no schemas for it", async () => {
    const { stdout, status } = await godwit(["--help"]);
    expect(status).toBe(EXIT.done);
    expect(stdout).toContain("Exit codes:");
    const { stdout: loaded } = Bun.spawnSync([
      process.execPath,
      "-e",
      `await import(${JSON.stringify(join(import.meta.dir, "program.ts"))});
       console.log(Object.keys(require.cache).filter((file) => /node_modules\\/(zod|graphql|hono)\\//.test(file)).length)`,
    ], { cwd: import.meta.dir });
    expect(loaded.toString().trim()).toBe("0");
  });

  test("ends with 2 where the command line is wrong", async () => {
    for (
      const args of [["frob"], ["apps", "create"], ["deploy", "--vm-memory", "much"], ["logs", "--frob"], [
        "up",
        "--vmm",
        "frob",
      ], [
        "status",
        "--frob",
      ]]
    ) {
      expect([args, (await godwit(args)).status]).toEqual([args, EXIT.usage]);
    }
  });

  test("says that it knows no API, then that it has no token, then that nobody answers", async () => {
    const noApi = await godwit(["apps", "list"]);
    expect([noApi.status, noApi.stdout]).toEqual([EXIT.usage, ""]);
    expect(noApi.stderr).toContain("bun run up");
    const api = { GODWIT_API_URL: "http://127.0.0.1:1" };
    expect((await godwit(["apps", "list"], api)).status).toBe(EXIT.unauthorised);
    const silent = await godwit(["apps", "list", "--json"], { ...api, GODWIT_TOKEN: "x" });
    expect(silent.status).toBe(EXIT.unreachable);
    expect(JSON.parse(silent.stdout).error).toMatchObject({ code: "cli.unreachable", retryable: true });
    expect(silent.stderr).toBe("");
  });

  test("takes API and token from the home, and shows the token nowhere", async () => {
    const file = { schema: 1, api_url: "http://127.0.0.1:1", token: "secret-canary" };
    writeFileSync(join(home, "cli.json"), JSON.stringify(file));
    const run = await godwit(["machine", "list", "-a", "web"]);
    expect(run.status).toBe(EXIT.unreachable);
    expect(run.stdout + run.stderr).not.toContain("secret-canary");
    rmSync(join(home, "cli.json"));
  });

  test("takes --json behind -- for the image's command, not for its own", async () => {
    const run = await godwit(["deploy", "-i", "x", "--", "serve", "--json"]);
    expect([run.status, run.stdout]).toEqual([EXIT.usage, ""]);
    expect(run.stderr).toContain("Which app?");
  });

  test("destroys nothing without a yes where nobody can be asked", async () => {
    const run = await godwit(["apps", "destroy", "web"], {
      GODWIT_API_URL: "http://127.0.0.1:1",
      GODWIT_TOKEN: "x",
    });
    expect(run.status).toBe(EXIT.usage);
    expect(run.stderr).toContain("add --yes");
  });
});

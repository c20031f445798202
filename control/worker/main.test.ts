import { expect, test } from "bun:test";
import { join } from "node:path";

async function run(...args: string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...args], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [status, out, error] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { status, out, error };
}

test("main without --config says how to call it and exits with 2", async () => {
  const { status, error } = await run();
  expect(status).toBe(2);
  expect(error).toContain("--config PATH");
});

test("main with a configuration that does not fit names the fields, no values, and exits with 2", async () => {
  const file = join(import.meta.dir, "../../package.json");
  const { status, out } = await run("--config", file);
  expect(status).toBe(2);
  expect(out).toContain("host_id");
});

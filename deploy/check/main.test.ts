import { expect, test } from "bun:test";
import { join } from "node:path";

test("check fails where nothing matches, and does not call zero tests green", async () => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), "no-such-test-file"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const output = await new Response(child.stdout).text();
  expect(output).toEndWith("0 passed, 1 failed\n");
  expect(output).toContain("no-such-test-file");
  expect(await child.exited).toBe(1);
});

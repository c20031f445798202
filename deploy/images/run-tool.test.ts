import { expect, test } from "bun:test";
import { runTool } from "./run-tool.ts";

test("runTool() gives what a tool writes", async () => {
  expect(await runTool(["/bin/echo", "x"])).toBe("x\n");
});

test("runTool() says which tool failed, with what and why", async () => {
  await expect(runTool(["/bin/sh", "-c", "echo no disk >&2; exit 4"])).rejects.toMatchObject({
    code: "images.tool_failed",
    message: expect.stringContaining("ended with 4: no disk"),
  });
});

test("runTool() says which tool is missing, and what to install", async () => {
  await expect(runTool(["godwit-no-such-tool"])).rejects.toMatchObject({
    code: "images.tool_missing",
    hint: "install it: apt-get install godwit-no-such-tool",
  });
});

import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { stackArguments } from "../program.ts";
import { findCheckout } from "./stack.ts";

test("stackArguments() hands everything on, the command first", () => {
  expect(stackArguments(["up", "--detach", "--json"], "up")).toEqual(["up", "--detach", "--json"]);
  expect(stackArguments(["--json", "down", "--purge"], "down")).toEqual(["down", "--json", "--purge"]);
});

test("findCheckout() goes up from each start", () => {
  const root = resolve(import.meta.dir, "../../..");
  expect(findCheckout(["/", import.meta.dir])).toBe(root);
  expect(findCheckout(["/"])).toBeNull();
});

test("godwit edge hands its options to the edge's own program, and its exit code back", async () => {
  const child = Bun.spawn([
    process.execPath,
    resolve(import.meta.dir, "../main.ts"),
    "edge",
    "--from",
    "nowhere",
  ], {
    stdout: "pipe",
    stderr: "pipe",
  });
  expect(await new Response(child.stderr).text()).toContain("--from nowhere is not ADDRESS:PORT");
  expect(await child.exited).toBe(2);
});

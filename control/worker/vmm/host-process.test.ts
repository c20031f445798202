import { expect, test } from "bun:test";
import { argumentsOf, identify, isAlive, killAndWait } from "./host-process.ts";

test("identify() names a process by pid and start time", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identify(child.pid)!;
  expect(identity.pid).toBe(child.pid);
  expect(Number(identity.start_time)).toBeGreaterThan(0);
  expect(isAlive(identity)).toBe(true);
  expect(isAlive({ ...identity, start_time: "1" })).toBe(false);
  await killAndWait(identity);
  expect(isAlive(identity)).toBe(false);
  expect(identify(child.pid)).toBeNull();
});

test("killAndWait() leaves a process alone that only has the same pid", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  await killAndWait({ pid: child.pid, start_time: "1" });
  expect(child.exitCode).toBeNull();
  child.kill("SIGKILL");
  await child.exited;
});

test("argumentsOf() reads a command line, and nothing of a process that is gone", () => {
  expect(argumentsOf(process.pid).length).toBeGreaterThan(0);
  expect(argumentsOf(4_194_304)).toEqual([]);
});

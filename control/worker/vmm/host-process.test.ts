import { expect, test } from "bun:test";
import { halfEnded } from "./half-ended.fixture.ts";
import { argumentsOf, identify, isAlive, killAndWait } from "./host-process.ts";
import { goneOf, ProcessEnds } from "./process-ends.ts";

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

test("identify() takes a process for alive until its last thread has ended", async () => {
  const child = await halfEnded();
  expect(identify(child.pid)?.pid).toBe(child.pid);
  const watch = new ProcessEnds(5);
  const gone = goneOf(identify(child.pid)!, new AbortController().signal, undefined, watch);
  await killAndWait(identify(child.pid)!);
  expect(identify(child.pid)).toBeNull();
  await gone;
});

test("argumentsOf() reads a command line, and nothing of a process that is gone", () => {
  expect(argumentsOf(process.pid).length).toBeGreaterThan(0);
  expect(argumentsOf(4_194_304)).toEqual([]);
});

import { expect, test } from "bun:test";
import { argumentsOf, goneOf, identify, isAlive, killAndWait } from "./host-process.ts";

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

test("goneOf() sees the end of a process that is no child, at once after a hint", async () => {
  const shell = Bun.spawn(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], { stdout: "pipe" });
  const identity = identify(Number(await new Response(shell.stdout).text()))!;
  const hint = Promise.withResolvers<void>();
  const gone = goneOf(identity, 3_600_000, new AbortController().signal, hint.promise);
  await killAndWait(identity);
  hint.resolve();
  await gone;
});

test("goneOf() listens to its hint once, however often it looks", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const identity = identify(child.pid)!;
  let listeners = 0;
  const hint = new Promise<void>(() => {});
  const then = hint.then.bind(hint);
  hint.then = ((...heard: Parameters<typeof then>) => {
    listeners++;
    return then(...heard);
  }) as typeof hint.then;
  const polls = 5;
  const gone = goneOf(identity, 1, new AbortController().signal, hint);
  await Bun.sleep(polls * 2);
  await killAndWait(identity);
  await gone;
  expect(listeners).toBe(1);
});

test("argumentsOf() reads a command line, and nothing of a process that is gone", () => {
  expect(argumentsOf(process.pid).length).toBeGreaterThan(0);
  expect(argumentsOf(4_194_304)).toEqual([]);
});

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { argumentsOf, identify, isAlive, killAndWait } from "./host-process.ts";
import { goneOf, ProcessEnds } from "./process-ends.ts";

const SYS_EXIT: Readonly<Record<string, number>> = { x64: 60, arm64: 93 };

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
  // exit(2) without its library ends the first thread alone; the one that reads lives on.
  const script = `import { dlopen } from "bun:ffi";
    import { readFile } from "node:fs";
    readFile("/dev/stdin", () => {});
    await Bun.file("/proc/self/stat").text();
    const args = ["i64", "i64"];
    dlopen("libc.so.6", { syscall: { args, returns: "i64" } }).symbols.syscall(${
    SYS_EXIT[process.arch]
  }n, 0n);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdin: "pipe" });
  const state = () => /\) (\S)/.exec(readFileSync(`/proc/${child.pid}/stat`, "utf8"))?.[1];
  while (state() !== "Z") await Bun.sleep(5);
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

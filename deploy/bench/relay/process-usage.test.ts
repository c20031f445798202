import { expect, test } from "bun:test";
import { parseStat, usageOf } from "./process-usage.ts";

test("parseStat() reads a line whose name holds spaces and parentheses", () => {
  const stat = "12 (a (b) c) S 7 12 12 0 -1 4194560 1 0 0 0 30 12 5 5 20 0 1 0 100 1000 250 1844 1 1";
  expect(parseStat(stat)).toEqual({ parent: 7, ticks: 42, endedTicks: 10, pages: 250 });
});

test("usageOf() counts a process with its descendants", async () => {
  const script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; read line; :' & wait";
  const child = Bun.spawn(["sh", "-c", script], { stdin: "pipe", stdout: "ignore" });
  const own = () => parseStat(require("node:fs").readFileSync(`/proc/${child.pid}/stat`, "utf8"));
  while (usageOf(child.pid).cpuMs < 50) await Bun.sleep(5);
  expect(own().ticks).toBeLessThan(5);
  expect(usageOf(child.pid).rssKb).toBeGreaterThan(0);
  child.kill();
  await child.exited;
  expect(usageOf(child.pid)).toEqual({ cpuMs: 0, endedCpuMs: 0, rssKb: 0 });
});

test("usageOf() tells what children used that have ended", async () => {
  const script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo; read line";
  const child = Bun.spawn(["sh", "-c", script], { stdin: "pipe", stdout: "pipe" });
  await child.stdout.getReader().read();
  expect(usageOf(child.pid).endedCpuMs).toBeGreaterThan(usageOf(child.pid).cpuMs + 20);
  child.kill();
  await child.exited;
});

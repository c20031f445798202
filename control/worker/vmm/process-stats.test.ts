import { expect, test } from "bun:test";
import { cpuTimeMs, processStats, wantedMs } from "./process-stats.ts";

test("cpuTimeMs() reads a process's time, and 0 where there is none", () => {
  expect(cpuTimeMs(process.pid)).toBeGreaterThan(0);
  expect(cpuTimeMs(2 ** 30)).toBe(0);
});

test("processStats() reads time and memory of a process", () => {
  const stats = processStats(process.pid);
  expect(stats.cpuMs).toBeGreaterThan(0);
  expect(stats.residentBytes).toBeGreaterThan(1_048_576);
  expect(processStats(2 ** 30)).toEqual({ cpuMs: 0, residentBytes: 0 });
});

test("wantedMs() grows with the time that a process wants a processor, and not while it waits", async () => {
  const busy = Bun.spawn(["sh", "-c", "while :; do :; done"]);
  const idle = Bun.spawn(["sleep", "60"]);
  const begun = performance.now();
  while (cpuTimeMs(busy.pid) < 200) await Bun.sleep(10);
  // Nearly all of the time, however many others want the processors.
  expect(wantedMs(busy.pid)).toBeGreaterThan((performance.now() - begun) * 0.8);
  expect(wantedMs(idle.pid)).toBeLessThan(wantedMs(busy.pid)! / 2);
  for (const child of [busy, idle]) {
    child.kill();
    await child.exited;
  }
  expect(wantedMs(2 ** 30)).toBeNull();
});
